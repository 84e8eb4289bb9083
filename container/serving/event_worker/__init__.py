"""The gunicorn worker that serves with one event loop."""
