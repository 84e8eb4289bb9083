"""Training on several hosts: how they connect, and which images each of them gets."""
