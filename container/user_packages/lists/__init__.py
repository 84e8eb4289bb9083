"""The files in which user code lists its packages."""
