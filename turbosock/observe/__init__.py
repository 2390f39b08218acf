"""Looking at exchanges from outside: records for other tools, with what is secret hidden."""
