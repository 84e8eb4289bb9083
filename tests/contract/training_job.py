"""The tree of a training job as the platform lays it out, and runs of `container train` in it."""

import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support import ROOT, USER_CODE


class Job:
    """The tree of one training job, as the platform lays it out, and its runs."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.python = sys.executable
        self.configure("hyperparameters", {})
        self.configure("inputdataconfig", {})
        self.configure("resourceconfig", {"current_host": "algo-1", "hosts": ["algo-1"]})

    def configure(self, name: str, document: Mapping[str, Any]) -> None:
        """Write one of the files of `input/config`."""
        path = self.base / f"input/config/{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document))

    def add_code(self, *names: str) -> None:
        """Copy fixture programs into the code directory."""
        for name in names:
            target = self.base / "code" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(USER_CODE / name, target)

    def environ(self, **variables: str) -> dict[str, str]:
        """Return the environment of a run, without this process's own variables."""
        kept = {
            name: os.environ[name]
            for name in ("PATH", "HOME", "LD_LIBRARY_PATH")
            if name in os.environ
        }
        kept["PATH"] = f"{Path(sys.executable).parent}:{kept['PATH']}"
        return kept | {"SAGEMAKER_BASE_DIR": str(self.base), "PYTHONPATH": str(ROOT)} | variables

    def start(self, *prefix: str, **variables: str) -> subprocess.Popen[bytes]:
        """Start `train`, below the command `prefix`."""
        command = [*prefix, self.python, "-m", "container", "train"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, cwd=ROOT, env=self.environ(**variables), **pipes)  # type: ignore[call-overload]

    def train(self, *prefix: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
        """Run `train` to its end."""
        process = self.start(*prefix, **variables)
        out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    @property
    def failure(self) -> str:
        """The content of the failure file; empty without one."""
        path = self.base / "output/failure"
        return path.read_text() if path.exists() else ""

    @property
    def given(self) -> dict[str, Any]:
        """What `dump.py` was given."""
        return json.loads((self.base / "model/given.json").read_text())


def make_wheel(directory: Path, name: str, version: str = "1.0", source: str | None = None) -> None:
    """Write the smallest legal wheel of a module; by default its NAME is `name`."""
    directory.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"NAME = {name!r}\n" if source is None else source,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }
    record = io.StringIO()
    with zipfile.ZipFile(directory / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
            digest = (
                base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
                .rstrip(b"=")
                .decode()
            )
            record.write(f"{path},sha256={digest},{len(text)}\n")
        wheel.writestr(f"{info}/RECORD", record.getvalue() + f"{info}/RECORD,,\n")
