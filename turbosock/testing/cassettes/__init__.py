"""Recorded exchanges: what was said on real connections, in files that people read, and answers made of them again."""
