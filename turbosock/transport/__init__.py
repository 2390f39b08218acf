"""Bytes over connected sockets: dialling, and the two ways of waiting."""
