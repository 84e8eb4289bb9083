"""Hyperparameters that depend on the network, the images and the weights of a job."""
