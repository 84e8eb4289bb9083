"""The Docker runner: an image in the local engine, started as the platform starts it (IMG-1 to IMG-5).

The job directory is mounted as `/opt/ml`, directories that the platform protects are mounted read-only over it. A
container that is shut off (SEC-1) joins a network without a way out, in which the harness still reaches it.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker
import docker.errors
import docker.types
import requests

from container import contract
from container.errors import PlatformError, UserError
from local_test.runner import Launch

LABEL = "byo.local-test"
"""Marks every container and network of this harness; its value names the process that owns it."""
_UNREACHABLE = (docker.errors.DockerException, requests.exceptions.RequestException)


def _name_process(pid: int) -> str:
    """Name a process so that a later one of the same id has another name."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    return f"{pid}-{stat.rpartition(')')[2].split()[19]}"


_OWNER = _name_process(os.getpid()) or str(os.getpid())


def _is_alive(owner: str) -> bool:
    """Tell whether an owner still runs; where there is no /proc, nobody is taken for dead."""
    return not Path("/proc/self/stat").exists() or _name_process(int(owner.partition("-")[0] or 0)) == owner


@functools.cache
def _connect() -> docker.DockerClient:
    """Give the process's one client of the engine."""
    return docker.from_env()


class DockerRunner:
    """Runs one image."""

    def __init__(
        self, image: str, *, shm_bytes: int = 64 * 1024**2, memory_bytes: int | None = None, gpus: bool = False
    ) -> None:
        """`shm_bytes`: the engine's default, which no request can raise (IMG-16).

        Raises: PlatformError if the engine is out of reach, UserError if it does not have the image.
        """
        self._image = image
        self._shm_bytes = shm_bytes
        self._memory_bytes = memory_bytes
        self._gpus = gpus
        try:
            self._client = _connect()
            self._client.ping()
        except _UNREACHABLE as error:
            message = f"the Docker engine is out of reach: {error}; start it, or use --program instead of --image"
            raise PlatformError(message) from error
        try:
            self._client.images.get(image)
        except docker.errors.ImageNotFound as error:
            message = (
                f"the engine has no image {image!r}; build it or pull it first (docker images lists what there is)"
            )
            raise UserError(message) from error

        self._reap()

    def _reap(self) -> None:
        """Remove what harnesses left behind that were killed and could not."""
        for container in self._client.containers.list(all=True, filters={"label": LABEL}):
            if not _is_alive(container.labels[LABEL]):
                with contextlib.suppress(docker.errors.APIError):
                    container.remove(force=True, v=True)
        for network in self._client.networks.list(filters={"label": LABEL}):
            if not _is_alive((network.attrs.get("Labels") or {}).get(LABEL, "")):
                with contextlib.suppress(docker.errors.APIError):
                    network.remove()

    @property
    def description(self) -> str:
        """What runs and how, for logs."""
        return f"image {self._image!r} in the Docker engine"

    @property
    def network_interface(self) -> str:
        """The engine's name for a container's first interface."""
        return "eth0"

    def mount_point(self, root: Path) -> str:  # noqa: ARG002 - the same for all
        """Give the path at which a container sees its job directory."""
        return "/opt/ml"

    def start(self, launch: Launch, on_output: Callable[[bytes], None]) -> DockerContainer:
        """Start a container; see `runner.Runner.start`."""
        mounts = [docker.types.Mount("/opt/ml", str(launch.root), type="bind")]
        mounts += [
            docker.types.Mount(f"/opt/ml/{name}", str(launch.root / name), type="bind", read_only=True)
            for name in launch.read_only
        ]
        options: dict[str, Any] = {}
        if launch.entrypoint is not None:
            options["entrypoint"] = list(launch.entrypoint)
        if self._memory_bytes is not None:
            options |= {"mem_limit": self._memory_bytes, "memswap_limit": self._memory_bytes}
        if self._gpus:
            options["device_requests"] = [docker.types.DeviceRequest(count=-1, capabilities=[["gpu"]])]
        network = None if launch.is_isolated and not launch.is_server and not launch.network else self._network(launch)
        if network is None and launch.is_isolated:
            options["network_mode"] = "none"
        elif network is not None:
            options["network"] = network.name
            options["networking_config"] = {
                network.name: self._client.api.create_endpoint_config(aliases=[launch.name])
            }
        elif launch.is_server:
            options["ports"] = {f"{contract.DEFAULT_PORT}/tcp": ("127.0.0.1", None)}
        try:
            container = self._client.containers.create(
                self._image,
                command=list(launch.arguments),
                environment=dict(launch.environment),
                hostname=launch.name,
                mounts=mounts,
                labels={LABEL: _OWNER},
                shm_size=self._shm_bytes,
                **options,
            )
            return DockerContainer(container, network, on_output, is_server=launch.is_server)
        except docker.errors.APIError as error:
            self._drop(network)
            message = f"the container could not be started: {error.explanation or error} (TRIP-1, TRIP-3, TRIP-4)"
            raise UserError(message) from error

    def _network(self, launch: Launch) -> Any:
        if not launch.is_isolated and not launch.network:
            return None
        name = launch.network or f"local-test-{os.getpid()}-{id(launch)}"
        found = self._client.networks.list(names=[f"^{name}$"])
        if found:
            return found[0]
        return self._client.networks.create(name, internal=launch.is_isolated, labels={LABEL: _OWNER})

    def _drop(self, network: Any) -> None:
        if network is not None:
            with contextlib.suppress(docker.errors.APIError):
                network.remove()


def describe_image(image: str) -> dict[str, Any]:
    """Give the engine's description of an image, and the name that it was asked by.

    Raises: PlatformError or UserError as `DockerRunner` does.
    """
    DockerRunner(image)
    attributes: dict[str, Any] = _connect().images.get(image).attrs
    return {**attributes, "name": image}


class DockerContainer:
    """A container in the engine."""

    def __init__(self, container: Any, network: Any, on_output: Callable[[bytes], None], *, is_server: bool) -> None:
        self._container = container
        self._network = network
        self._ended = threading.Event()
        self._code = 0
        self._removed = threading.Lock()
        try:
            container.start()
        except docker.errors.APIError:
            container.remove(force=True)
            raise
        stream = container.logs(stream=True, follow=True)
        self.address = self._find_address() if is_server else ("", 0)
        self._reader = threading.Thread(target=self._read, args=(stream, on_output), daemon=True)
        self._reader.start()
        threading.Thread(target=self._watch, daemon=True, name=f"wait {container.name}").start()

    def _find_address(self) -> tuple[str, int]:
        self._container.reload()
        settings = self._container.attrs["NetworkSettings"]
        published = (settings.get("Ports") or {}).get(f"{contract.DEFAULT_PORT}/tcp")
        if published:
            return "127.0.0.1", int(published[0]["HostPort"])
        networks = [network["IPAddress"] for network in settings["Networks"].values() if network.get("IPAddress")]
        return (networks or [""])[0], contract.DEFAULT_PORT

    def _read(self, stream: Any, on_output: Callable[[bytes], None]) -> None:
        with contextlib.suppress(*_UNREACHABLE), contextlib.closing(stream):
            for piece in stream:
                on_output(piece)

    def _watch(self) -> None:
        try:
            self._code = int(self._container.wait()["StatusCode"])
        except _UNREACHABLE:
            self._code = 137  # removed, or the engine is gone
        self._reader.join(5)
        self._ended.set()

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait for its end; see `runner.Container.wait`."""
        return self._code if self._ended.wait(timeout_s) else None

    def send_signal(self, number: int) -> None:
        """Send a signal to the main process."""
        with contextlib.suppress(docker.errors.APIError):  # it has ended
            self._container.kill(signal=int(number))

    def processes(self) -> list[int]:
        """Give the ids, on this machine, of all its processes, the program first."""
        try:
            table = self._container.top(ps_args="-o pid")
        except docker.errors.APIError:
            return []
        return [int(row[0]) for row in table["Processes"]]

    def freeze(self) -> None:
        """Let every process in it stand still until it is killed."""
        with contextlib.suppress(docker.errors.APIError):
            self._container.pause()

    def kill(self) -> None:
        """Send SIGKILL to every process in it."""
        self.send_signal(9)

    def remove(self) -> None:
        """Leave neither container nor network behind."""
        with self._removed:
            with contextlib.suppress(docker.errors.APIError):
                self._container.remove(force=True, v=True)
            if self._network is not None:
                with contextlib.suppress(docker.errors.APIError):
                    self._network.remove()
                self._network = None
