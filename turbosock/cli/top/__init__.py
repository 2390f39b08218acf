"""`turbosock top`: a set of requests kept running, and what becomes of them, live."""
