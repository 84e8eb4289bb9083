#!/usr/bin/env bash
# Fixture program: a shell that does not forward signals, around a program that saves its work on SIGTERM.
printf '%s\n' "$@" >"$SM_MODEL_DIR/arguments"
python "$(dirname "$0")/saver.py"
