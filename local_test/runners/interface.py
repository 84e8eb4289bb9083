"""What a runner is: something that starts a container and reports its end.

There are two: `process` (any command) and `docker` (an image). The rest of the harness does not
know which one runs.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from container import contract


@dataclass(frozen=True)
class Launch:
    """One container to start, in the platform's terms."""

    name: str
    """Name of its host, such as `algo-1`."""
    arguments: tuple[str, ...]
    """Arguments of the entry point: `("train",)` (IMG-1); none for a processing job (IMG-2)."""
    root: Path
    """The directory that the container sees as `/opt/ml`."""
    environment: Mapping[str, str]
    """All variables that the platform sets."""
    image: str = ""
    """What the request names; a runner of one image runs that one."""
    entrypoint: tuple[str, ...] | None = None
    """Replaces the image's own (IMG-3)."""
    read_only: tuple[str, ...] = ()
    """Directories below `root` that the container cannot write to, such as `model` (HO-2)."""
    peers: tuple[str, ...] = ()
    """Names of all hosts of the job, its own among them."""
    names_after_s: float = 0.0
    """How long after the start the peers' names are unknown (DS-4)."""
    is_server: bool = False
    """It listens on port 8080, or on the one in `SAGEMAKER_BIND_TO_PORT` (HO-1)."""
    is_multi_model: bool = False
    """It loads models on request; the label of an image has to allow that (IMG-12)."""
    is_one_of_several: bool = False
    """It shares an instance with others; the label of an image has to allow that (PIP-1)."""
    network: str = ""
    """Name of the network that the peers share; empty for a single container."""
    is_isolated: bool = False
    """It cannot reach anything outside (SEC-1)."""
    memory_bytes: int | None = None
    """What its processes may use together (SRV-1), or None for the runner's own limit."""
    is_root_read_only: bool = False
    """It can write to `/tmp` and, if it has one, to `/dev/shm` only (SRV-1)."""
    has_shared_memory: bool = True
    """It has a `/dev/shm`, which serverless endpoints lack (SRV-1)."""
    instance_type: str = ""
    """What the request names as its machine."""

    @property
    def wants_gpus(self) -> bool:
        """Whether the instance type has GPUs of NVIDIA (GPU-1)."""
        return re.match(r"ml\.[gp]\d", self.instance_type) is not None

    @property
    def port(self) -> int:
        """The port on which its server listens, inside the container."""
        port = self.environment.get(contract.BIND_TO_PORT_VARIABLE, "")
        return int(port) if port.isdecimal() else contract.DEFAULT_PORT


class Container(Protocol):
    """A started container."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of its server."""

    @property
    def note(self) -> str:
        """What is known of its end besides the exit code, such as its memory limit; or empty."""

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait for its end; return the exit code (128 + n after signal n), or None at the timeout.

        Raises: PlatformError if the engine that runs it was lost.
        """

    def send_signal(self, number: int) -> None:
        """Send a signal to its first process, if that still runs."""

    def processes(self) -> list[int]:
        """Return the IDs, on this machine, of its processes, the first one at the head."""

    def freeze(self) -> None:
        """Pause every process in it until it is killed."""

    def kill(self) -> None:
        """Send SIGKILL to every process in it."""

    def remove(self) -> None:
        """Kill what still runs, and leave nothing behind."""


class Runner(Protocol):
    """Starts containers."""

    @property
    def description(self) -> str:
        """What runs and how, for logs."""

    def network_interface(self, *, has_peers: bool, is_isolated: bool) -> str:
        """Return the interface by which such a job's containers reach their peers (DS-2)."""

    def mount_point(self, root: Path) -> str:
        """Return the path at which a container sees its job directory."""

    def start(self, launch: Launch, on_output: Callable[[bytes], None]) -> Container:
        """Start a container; another thread calls `on_output` with pieces of its output.

        Raises: UserError if the program or image cannot be started, PlatformError if the engine
        cannot be reached.
        """
