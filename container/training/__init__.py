"""`train`: from channels and hyperparameters to an artifact in the model directory."""
