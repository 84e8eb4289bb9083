"""The walk-throughs for tests: environments with the SDKs, and the examples run in them."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.contract.aws.client import LocalAws
from tests.environments import install_apart
from tests.support import PROGRAMS, ROOT

EXAMPLES = ROOT / "examples"
WALKS = {  # the environment that each runs in, and what is run
    "boto3": ("boto3", [EXAMPLES / "mnist_walkthrough_boto3.py"]),
    "sdk-v2": ("v2", [EXAMPLES / "mnist_walkthrough_sdk_v2.py"]),
    "sdk-v3": ("v3", [EXAMPLES / "mnist_walkthrough_sdk_v3.py"]),
}


def install_sdk(sdk: str) -> str:
    """Return the Python of an environment with one version of the SDK, which ours conflicts with.

    It lies in the environment that the tests run in, and is made once.
    """
    return sys.executable if sdk == "boto3" else str(install_apart(f"sdk-{sdk}") / "bin/python")


def start(aws: LocalAws, sdk: str, *arguments: str | Path) -> subprocess.Popen[str]:
    """Start a program in the environment that `env` prints, and in no other, with short waits."""
    exports = aws.read_exports()
    short = {"PYTHONPATH": str(PROGRAMS / "hasty")}
    environ = {"PATH": os.environ["PATH"], "HOME": str(aws.directory), **short, **exports}
    command = [install_sdk(sdk), "-W", "ignore", *map(str, arguments)]
    return subprocess.Popen(
        command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(process: subprocess.Popen[str], limit_s: float = 500) -> str:
    """Wait for the end of a program that must succeed; return what it printed."""
    try:
        output, _ = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        process.kill()
        raise AssertionError(process.communicate()[0]) from None
    assert process.returncode == 0, output
    return output


@contextlib.contextmanager
def walking(
    aws: LocalAws, data: Path, *arguments: str, walks: Iterable[str] = tuple(WALKS)
) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """Start walk-throughs, all at once; end those that still run."""
    options = ["--data", str(data), "--epochs", "5", "--tuning-jobs", "1", *arguments]
    with contextlib.ExitStack() as ending:
        processes = {}
        for walk in walks:
            sdk, command = WALKS[walk]
            processes[walk] = ending.enter_context(start(aws, sdk, *command, *options))
            ending.callback(processes[walk].kill)
        yield processes


def write_digits(
    directory: Path, digits: Mapping[str, tuple[NDArray[np.uint8], NDArray[np.int32]]]
) -> Path:
    """Write the files that the walk-throughs read; return their directory."""
    for part, (images, labels) in digits.items():
        rows = np.column_stack([labels, images.reshape(len(images), -1)])
        np.savetxt(directory / f"mnist_{part}.csv", rows, "%d", ",")
    return directory


def check(output: str) -> None:
    """Check by its output that a walk-through did what it must."""
    assert len(re.findall(r"image \d+: \d is predicted as \d", output)) == 10, output
    right, rows = map(int, re.findall(r"(\d+) of (\d+) rows are right", output)[0])
    assert rows == 360, output
    assert right > 100, output  # an epoch teaches little, and a wrong column would leave a tenth
