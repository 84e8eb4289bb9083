"""Fixture program: floods both streams with numbered lines, then 1 MB without a line break."""

import os
import sys
from pathlib import Path

Path(os.environ.get("SM_MODEL_DIR", "."), "model").write_text("model")
for number in range(int(sys.argv[sys.argv.index("--lines") + 1])):
    sys.stdout.buffer.write(b"out %d\n" % number)
    sys.stderr.buffer.write(b"err %d\n" % number)
sys.stdout.buffer.write(b"\xff" * 1_000_000 + b"\n")
sys.stdout.buffer.write(b"the end, without a newline")
