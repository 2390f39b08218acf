"""Connections by origin: kept, lent, waited for and bounded."""
