"""What clients see, as documents made from its types: OpenAPI for HTTP, a table of events for the socket. Pure."""
