"""Models and handlers that users bring."""
