"""Fixture program: fills the disk, swallows the error as a careless program does, and says that all is well."""

import contextlib
import os
from pathlib import Path

with contextlib.suppress(OSError), Path(os.environ["SM_MODEL_DIR"], "model").open("wb") as file:
    while True:
        file.write(bytes(65536))
