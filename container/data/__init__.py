"""Labeled images from a channel."""
