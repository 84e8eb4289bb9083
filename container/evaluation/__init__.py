"""`evaluate`: scores an artifact on labeled images and writes metrics and a report."""
