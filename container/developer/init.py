"""`init`: writes the smallest project of each kind that trains and serves as it is.

Rules of this file: the templates are whole files, as a user would write them; nothing is ever
overwritten.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_INFERENCE: Final = '''"""Serves the model: rows in, a number for each out; CSV, JSON and npy are decoded for you."""

import json
from pathlib import Path

import numpy as np


def model_fn(model_dir):
    return np.array(json.loads(Path(model_dir, "means.json").read_text()))


def predict_fn(data, model):
    return np.linalg.norm(np.atleast_2d(data) - model, axis=1)
'''

_TRAIN: Final = '''"""Trains on the CSV files of the channel `training`; hyperparameters are arguments."""

import argparse
import json
import os
from pathlib import Path

import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("--scale", type=float, default=1.0)
arguments = parser.parse_args()

files = sorted(Path(os.environ["SM_CHANNEL_TRAINING"]).glob("*.csv"))
table = np.concatenate([np.loadtxt(file, delimiter=",", ndmin=2) for file in files])
print(f"rows={len(table)};")
Path(os.environ["SM_MODEL_DIR"], "means.json").write_text(json.dumps((arguments.scale * table.mean(axis=0)).tolist()))
'''

_ALGORITHM: Final = '''"""Trains and serves in one typed file; `python -m container describe` tells of it."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from container.algorithm import Job, field

CHANNELS = ("training",)
METRICS = ("rows",)


@dataclass(frozen=True)
class Hyperparameters:
    scale: float = field(1.0, "multiplies the means", low=0.0, high=10.0)


def train(job: Job[Hyperparameters]) -> None:
    files = sorted(job.channels["training"].glob("*.csv"))
    table = np.concatenate([np.loadtxt(file, delimiter=",", ndmin=2) for file in files])
    job.log_metrics(rows=len(table))
    means = job.hyperparameters.scale * table.mean(axis=0)
    (job.model_dir / "means.json").write_text(json.dumps(means.tolist()))


def load(model_dir: Path) -> np.ndarray:
    return np.array(json.loads((model_dir / "means.json").read_text()))


def predict(model: np.ndarray, data: np.ndarray) -> np.ndarray:
    return np.linalg.norm(np.atleast_2d(data) - model, axis=1)
'''

_SHELL: Final = """#!/usr/bin/env bash
# Trains on the CSV files of the channel `training`; hyperparameters are arguments: --scale 2.
set -euo pipefail

scale=1
while [ $# -gt 0 ]; do
  case $1 in
    --scale) scale=$2; shift 2 ;;
    *) echo "unknown hyperparameter $1" >&2; exit 2 ;;
  esac
done

cat "$SM_CHANNEL_TRAINING"/*.csv | awk -F, -v scale="$scale" '
  { for (i = 1; i <= NF; i++) sum[i] += $i; width = NF }
  END { for (i = 1; i <= width; i++) printf "%s%g", (i > 1 ? ", " : "["), scale * sum[i] / NR; print "]" }
' >"$SM_MODEL_DIR/means.json"
echo "rows=$(cat "$SM_CHANNEL_TRAINING"/*.csv | wc -l);"
"""

_DOCKERFILE: Final = """# The toolkit's image with this project's code baked in.
ARG BASE_IMAGE=byo:cpu
FROM ${BASE_IMAGE}
COPY code /opt/code
ENV SAGEMAKER_SUBMIT_DIRECTORY=/opt/code
# Multi-model endpoints are for models of the bundled trainer.
LABEL com.amazonaws.sagemaker.capabilities.multi-models="false"
"""

_README: Final = """# {name}

Try it, then change `code/` and `data/`:

```bash
python -m container doctor {path}
python -m local_test smoke --no-evaluation --channel code={path}/code --channel training={path}/data \\
  --body {path}/request.csv
```

As an image, from the toolkit's own, which its checkout builds once (`docker build -f Dockerfile.cpu -t byo:cpu .`):

    docker build --tag {name} {path}
    python -m local_test smoke --no-evaluation --image {name} --channel training={path}/data --body {path}/request.csv
"""

KINDS: Final = {
    "script": {"code/train.py": _TRAIN, "code/inference.py": _INFERENCE},
    "algorithm": {"code/algorithm.py": _ALGORITHM},
    "shell": {"code/train.sh": _SHELL, "code/inference.py": _INFERENCE},
}


def write(directory: Path, kind: str) -> list[Path]:
    """Write a project of `kind`; gives its files.

    Raises: FileExistsError, before anything is written, if one of them is there already; OSError.
    """
    name = directory.absolute().name.lower().replace(" ", "-")
    common = {
        "data/numbers.csv": "1,2\n3,4\n",
        "request.csv": "2,3\n5,7\n",
        "Dockerfile": _DOCKERFILE,
        "README.md": _README.format(name=name, path=shlex.quote(str(directory))),
    }
    files = {directory / path: text for path, text in (KINDS[kind] | common).items()}
    there = [str(path) for path in files if path.exists()]
    if there:
        raise FileExistsError(", ".join(there))
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        if path.suffix == ".sh":
            path.chmod(0o755)
    return list(files)


def main(argv: Sequence[str]) -> int:
    """Run `init` and give its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m container init", description="Write the smallest working project."
    )
    parser.add_argument("directory", type=Path)
    parser.add_argument("--kind", choices=tuple(KINDS), default="script", help="default: script")
    options = parser.parse_args(argv)
    try:
        files = write(options.directory, options.kind)
    except FileExistsError as error:
        print(f"nothing was written: {error} would be overwritten", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{options.directory} cannot be written: {error}", file=sys.stderr)
        return 1
    for path in files:
        print(path)
    return 0
