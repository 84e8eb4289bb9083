"""The real service: the requests of the local commands, sent to an account."""
