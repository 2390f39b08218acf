"""Requests and answers: what is the same for the blocking Client and the ticking Loop."""
