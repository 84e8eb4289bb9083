"""The files and the addresses of containers in an engine."""
