"""A protocol on a transport: the steps that both drivers take, for clients and for servers."""
