"""`turbosock demo`: legs of measured work against a server of its own on loopback, and one table at the end."""
