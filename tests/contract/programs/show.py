"""Writes down everything that the platform shows to a container, as `output/data/seen.json`."""

import json
import os
import socket
import sys
from pathlib import Path

base = Path(os.environ.get("SAGEMAKER_BASE_DIR") or "/opt/ml")
outcome = "no channel"
for channel in sorted(path for path in (base / "input/data").iterdir() if path.is_dir()):
    try:
        (channel / "a.csv").write_text("changed")
        outcome = "done"
    except OSError as error:
        outcome = error.strerror or ""
seen = {
    "argv": sys.argv[1:],
    "base": str(base),
    "uid": os.getuid(),
    "environment": dict(os.environ),
    "config": {
        path.name: json.loads(path.read_text()) for path in (base / "input/config").iterdir()
    },
    "data": [path.name for path in (base / "input/data").iterdir()],
    "interfaces": [name for _, name in socket.if_nameindex()],
    "write_to_channel": outcome,
}
(base / "output/data/seen.json").write_text(json.dumps(seen))
(base / "model/same-name").write_text("model")
