"""Listeners: what a Loop accepts. HTTP/1.1 here; a handler may answer at once or keep the exchange."""
