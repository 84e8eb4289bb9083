"""`doctor`: reports what is wrong with a project, a model archive, a Dockerfile or an image.

Rules of this folder: it reads, and never runs the user's code or a container. Each finding names
the file, what will happen and what to do; the contract's clause follows in brackets.
"""
