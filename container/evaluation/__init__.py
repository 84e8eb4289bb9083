"""`evaluate`: scores an artefact on labelled images and writes metrics and a report."""
