"""Faults of connections, where and when you want them, or by chance from a seed."""
