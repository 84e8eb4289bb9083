"""One module for each kind of model; each imports its framework when a model is loaded."""
