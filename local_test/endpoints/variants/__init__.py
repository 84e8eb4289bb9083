"""The variants of an endpoint: what differs in how their containers are started and invoked."""
