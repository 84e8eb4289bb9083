"""A container in an engine that is played."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
