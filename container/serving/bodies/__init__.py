"""Request bodies to images, and predictions to answer bodies."""
