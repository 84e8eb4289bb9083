"""The process that hosts the local AWS: directory, port, HTTP server."""
