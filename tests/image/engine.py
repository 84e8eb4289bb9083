"""Drives a container engine as the platform does: argv, mounts, signals, HTTP.

Rules of this file: the engine's own command-line client is all that touches a container; every
container that is started here is removed when its test ends.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from tests.support import wait_until

TEST_ROWS = 300


def docker(*arguments: str | Path) -> str:
    """Run the engine's client and return its output, both streams; a failure fails the test."""
    done = subprocess.run(
        ["docker", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (
        f"docker {arguments[0]}: exit {done.returncode}\n{done.stdout}{done.stderr}"
    )
    return done.stdout + done.stderr


def build(context: Path, dockerfile: str, tag: str, *options: str) -> str:
    """Build an image and return its name; the image that had the name before is removed."""
    base = (
        ["--build-arg", f"BASE_IMAGE={os.environ['BASE_IMAGE']}"]
        if os.environ.get("BASE_IMAGE")
        else []
    )
    with replacing(tag):
        done = subprocess.run(
            [
                "docker",
                "build",
                "--progress=plain",
                "--file",
                context / dockerfile,
                "--tag",
                tag,
                *base,
                *options,
                context,
            ],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "DOCKER_BUILDKIT": "1"},
        )
    hint = (
        "where no registry is reached, docker/make_stand_in_base.sh makes a base; "
        "name it in BASE_IMAGE"
    )
    assert done.returncode == 0, f"{(done.stdout + done.stderr)[-8000:]}\nthe build failed; {hint}"
    return tag


@contextmanager
def replacing(tag: str) -> Iterator[None]:
    """Remove the image that bore a name before, if it does so no longer."""
    before = find_image(tag)
    yield
    if before and before != find_image(tag):
        # An image in use is kept.
        subprocess.run(["docker", "image", "rm", before], capture_output=True, check=False)


def find_image(name: str) -> str:
    """Return the ID of an image, or an empty string if there is none of that name."""
    command = ["docker", "image", "inspect", "--format", "{{.Id}}", name]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


@contextmanager
def running(image: str, *command: str, options: tuple[str | Path, ...] = ()) -> Iterator[str]:
    """Start a container in the background, yield its ID and always remove it."""
    container = docker("run", "--detach", *options, image, *command).strip()
    try:
        yield container
    finally:
        docker("rm", "--force", "--volumes", container)


def exit_code(container: str) -> int:
    """Wait for a container's end and return its exit code."""
    return int(docker("wait", container))


def address(container: str) -> tuple[str, int]:
    """Return the host and port at which a container's port 8080 is published."""
    host, port = docker("port", container, "8080/tcp").splitlines()[0].rsplit(":", 1)
    return host, int(port)


def request(
    url: str, body: bytes | None = None, content_type: str = "text/csv", timeout_s: float = 60
) -> tuple[int, bytes]:
    """Send one request and return status and body; the status is 0 if no answer comes in time."""
    message = urllib.request.Request(
        url, data=body, headers={"Content-Type": content_type} if body else {}
    )
    try:
        with urllib.request.urlopen(message, timeout=timeout_s) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
    except OSError:
        return 0, b""


def wait_until_healthy(container: str) -> str:
    """Wait for the first 200 of /ping; return the server's URL."""
    host, port = address(container)
    url = f"http://{host}:{port}"
    wait_until(lambda: request(f"{url}/ping")[0] == 200)
    return url


def write_job(base: Path, hyperparameters: dict[str, str]) -> Path:
    """Lay out `/opt/ml` of a training job on scikit-learn's digits; return `base`."""
    digits = load_digits()
    images = (digits.images.reshape(len(digits.images), -1) * 255 / 16).round().astype(np.uint8)
    rows = [
        [label, *pixels]
        for label, pixels in zip(digits.target.tolist(), images.tolist(), strict=True)
    ]
    for channel, part in (("training", rows[:-TEST_ROWS]), ("testing", rows[-TEST_ROWS:])):
        directory = base / "input/data" / channel
        directory.mkdir(parents=True)
        with (directory / "digits.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["label", *(f"pixel{i}" for i in range(64))], *part])
    config = base / "input/config"
    config.mkdir()
    (config / "hyperparameters.json").write_text(json.dumps(hyperparameters))
    channel_config = {
        "TrainingInputMode": "File",
        "S3DistributionType": "FullyReplicated",
        "RecordWrapperType": "None",
    }
    (config / "inputdataconfig.json").write_text(
        json.dumps(dict.fromkeys(("training", "testing"), channel_config))
    )
    (config / "resourceconfig.json").write_text(
        json.dumps(
            {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "eth0"}
        )
    )
    return base


def read_test_rows(base: Path) -> bytes:
    """Return the test channel as a request body: pixels only, no header."""
    lines = (base / "input/data/testing/digits.csv").read_text().splitlines()[1:]
    return "\n".join(line.split(",", 1)[1] for line in lines).encode()
