"""Fixture program: exits with `--code N`, by `--signal N`, by an exception or with a reason."""

import argparse
import os
import sys
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--code", type=int, default=0)
parser.add_argument("--signal", type=int)
parser.add_argument("--say")
parser.add_argument("--reason")
parser.add_argument("--save", default="model")
arguments = parser.parse_args()
if arguments.save:
    Path(os.environ["SM_MODEL_DIR"], arguments.save).write_text("model")
if arguments.reason:
    Path(os.environ["SM_OUTPUT_DIR"], "failure").write_text(arguments.reason)
if arguments.signal:
    os.kill(os.getpid(), arguments.signal)
if arguments.say:
    raise ValueError(arguments.say)
sys.exit(arguments.code)
