"""A process that runs handlers: users' code and nothing else of the server. Started by an engine, never by hand."""
