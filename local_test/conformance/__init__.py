"""Checks whether an image, a program or a server at a URL keeps the contract."""
