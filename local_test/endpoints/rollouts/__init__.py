"""How the traffic of an endpoint moves to a new version, and back if an alarm trips."""
