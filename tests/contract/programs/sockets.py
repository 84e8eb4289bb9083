"""Tries to reach sockets and files of the machine, and writes what it reached."""

import json
import pathlib
import socket
import subprocess
import sys

paths = json.loads(pathlib.Path("/opt/ml/input/config/hyperparameters.json").read_text())
for place in json.loads(paths["unmounted"]):
    subprocess.run(["umount", place], check=False, capture_output=True)


def reach(address: str) -> str:
    """Return what the socket sends, or the name of the error."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(address)
            return client.recv(100).decode()
        except OSError as error:
            return type(error).__name__


seen = {
    "file": reach(paths["file"]),
    "abstract": reach("\0" + paths["abstract"]),
    "run": [path.name for path in pathlib.Path("/run").iterdir() if not path.is_symlink()],
    "hidden": [path.name for path in pathlib.Path(paths["hidden"]).iterdir()],
}
pathlib.Path("/opt/ml/output/data/seen.json").write_text(json.dumps(seen))
sys.exit(0)
