"""Asynchronous invocations, and the messages about them."""
