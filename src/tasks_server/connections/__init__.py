"""The connections of clients to this process, beside the HTTP server that serves them: how many, how idle, which go."""
