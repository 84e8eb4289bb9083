"""Fixture program: fills the disk, swallows the error and reports success."""

import contextlib
import os
from pathlib import Path

with contextlib.suppress(OSError), Path(os.environ["SM_MODEL_DIR"], "model").open("wb") as file:
    while True:
        file.write(bytes(65536))
