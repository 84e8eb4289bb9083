"""The runtimes that compute the predictions of the bundled network."""
