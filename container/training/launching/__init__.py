"""Launches a program on several hosts or devices: by torchrun, mpirun or Ray."""
