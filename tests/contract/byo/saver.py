"""Fixture program: trains forever; on SIGTERM it saves a model and exits with 0.

`--deaf 1` ignores SIGTERM.
"""

import argparse
import os
import signal
import sys
import time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--deaf", type=int, default=0)
arguments = parser.parse_args()


def save(*_: object) -> None:
    time.sleep(0.3)  # a real model takes a while; what forwards the signal must wait
    Path(os.environ["SM_MODEL_DIR"], "saved").write_text("model")
    print("saved", flush=True)
    sys.exit(0)


signal.signal(signal.SIGTERM, signal.SIG_IGN if arguments.deaf else save)
print("training", flush=True)
while True:
    time.sleep(0.05)
