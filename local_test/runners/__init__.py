"""Ways to run a container: as a process or in Docker."""
