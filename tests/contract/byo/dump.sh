#!/bin/sh
# Fixture program: the shell's way to dump.py.
exec python "$(dirname "$0")/dump.py" "$@"
