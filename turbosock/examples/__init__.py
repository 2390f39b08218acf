"""Programs to read, run and copy from; they use what any program may, the public names of turbosock."""
