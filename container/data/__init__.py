"""Labelled images from a channel."""
