"""Lambda steps, which run functions as programs."""
