#!/bin/sh
# Fixture program: the shell's way to end.py.
python end.py "$@"
