"""`serve`: answers `/ping` and `/invocations` from an artifact."""
