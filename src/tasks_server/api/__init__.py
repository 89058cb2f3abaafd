"""The HTTP API: bytes in, a service called, bytes out. Rules are the domain's, use cases the services'."""
