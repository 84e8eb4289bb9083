"""What a runner is: something that starts a container from a description and tells when it has ended.

Two exist: `process` (any command line) and `engine` (a Docker image). Nothing else in the harness
knows which one runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Launch:
    """One container to start, in the platform's terms."""

    name: str
    """Name of its host: `algo-1`."""
    arguments: tuple[str, ...]
    """What the entry point gets: `("train",)` (IMG-1); empty for a processing job (IMG-2)."""
    root: Path
    """The directory that the container sees as `/opt/ml`."""
    environment: Mapping[str, str]
    """Every variable that the platform sets."""
    entrypoint: tuple[str, ...] | None = None
    """Replaces the image's own (IMG-3)."""
    read_only: tuple[str, ...] = ()
    """Directories below `root` that the container must not write to, such as `model` when serving (HO-2)."""
    peers: tuple[str, ...] = ()
    """Names of all hosts that it has to find, its own among them."""
    names_after_s: float = 0.0
    """Peers' names are unknown for so long after the start (DS-4)."""
    is_server: bool = False
    """It will listen on port 8080, or on the port that `SAGEMAKER_BIND_TO_PORT` names (HO-1)."""
    is_multi_model: bool = False
    """It will be asked to load models: an image must say by a label that it can (IMG-12)."""
    network: str = ""
    """Name of the network that peers share; empty for a container on its own."""
    is_isolated: bool = False
    """No way out of the machine (SEC-1)."""


class Container(Protocol):
    """A started container."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port where its server can be reached."""

    @property
    def note(self) -> str:
        """What is known of its end beside the exit code, such as the memory limit that it ran into; else empty."""

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait for its end; give the exit code (128 + n after signal n), or None when the time is over first.

        Raises: PlatformError if the engine that runs it was lost.
        """

    def send_signal(self, number: int) -> None:
        """Send a signal to the main process; a container that has ended is left alone."""

    def processes(self) -> list[int]:
        """Give the ids, on this machine, of all its processes, the program first."""

    def freeze(self) -> None:
        """Let every process in it stand still until it is killed."""

    def kill(self) -> None:
        """Send SIGKILL to every process in it."""

    def remove(self) -> None:
        """Leave nothing behind; kills what still runs."""


class Runner(Protocol):
    """Starts containers."""

    @property
    def description(self) -> str:
        """What runs and how, for logs."""

    def network_interface(self, *, has_peers: bool, is_isolated: bool) -> str:
        """Name of the interface by which such a job's containers reach their peers (DS-2)."""

    def mount_point(self, root: Path) -> str:
        """Give the path at which a container sees its job directory."""

    def start(self, launch: Launch, on_output: Callable[[bytes], None]) -> Container:
        """Start a container; `on_output` is called from another thread with pieces of its standard output and error.

        Raises: UserError if the program or image cannot be started, PlatformError if the engine is
        out of reach.
        """
