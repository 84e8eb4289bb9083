"""Training on several hosts: how they meet, and which images each of them gets."""
