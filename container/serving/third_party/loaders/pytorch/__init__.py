"""PyTorch's programs and weights."""
