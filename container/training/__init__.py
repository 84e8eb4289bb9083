"""`train`: from channels and hyperparameters to an artefact in the model directory."""
