"""Request bodies to arrays, and predictions to answer bodies."""
