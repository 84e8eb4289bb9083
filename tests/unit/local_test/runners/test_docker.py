"""A container in an engine that is played."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from local_test.runners.docker import DockerContainer
from local_test.runners.interface import Launch


class SilentContainer:
    """Like one of Podman, whose log answers with the first line, or not in time."""

    name = "played"

    def __init__(self) -> None:
        self.lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.asked = 0
        self.is_over = threading.Event()

    def start(self) -> None:
        """Run from now on."""

    def logs(self, **_: Any) -> Iterator[bytes]:
        """Wait for the first line, the first time in vain."""
        self.asked += 1
        if self.asked == 1:
            raise requests.exceptions.ReadTimeout
        return (line for line in [self.lines.get()])

    def wait(self) -> dict[str, int]:
        """Wait for the end."""
        self.is_over.wait()
        return {"StatusCode": 0}

    def remove(self, **_: Any) -> None:
        """Be gone."""


def test_a_container_that_says_nothing_yet_does_not_keep_the_next_from_starting(
    tmp_path: Path,
) -> None:
    played = SilentContainer()
    read: list[bytes] = []
    launch = Launch("algo-1", ("train",), tmp_path, {})

    container = DockerContainer(played, [], read.append, launch, None)  # returns before any output
    played.lines.put(b"heard from algo-2\n")
    played.is_over.set()

    assert container.wait(30) == 0
    assert read == [b"heard from algo-2\n"]
    container.remove()


@pytest.mark.parametrize(
    ("instance_type", "has_gpus"),
    [
        ("ml.g5.xlarge", True),
        ("ml.p4d.24xlarge", True),
        ("ml.m5.large", False),
        ("", False),
        ("local_gpu", False),
    ],
)
def test_an_instance_type_has_gpus_or_not(
    tmp_path: Path, instance_type: str, *, has_gpus: bool
) -> None:
    launch = Launch("algo-1", ("train",), tmp_path, {}, instance_type=instance_type)
    assert launch.wants_gpus is has_gpus
