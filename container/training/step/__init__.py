"""One training step: input, network, gradients, update."""
