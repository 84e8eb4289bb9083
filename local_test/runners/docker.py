"""The Docker runner: an image in the local engine, started as the platform starts it (IMG-1 to IMG-5).

Each directory of the job directory is mounted by itself below `/opt/ml`, those that the platform
protects read-only: what the image has there besides, such as `/opt/ml/code`, stays visible (IMG-7).
A container that is shut off (SEC-1) joins a network without a way out, in which the harness still
reaches it.
"""

from __future__ import annotations

import atexit
import concurrent.futures
import contextlib
import functools
import io
import ipaddress
import os
import tarfile
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
from local_test.runners.interface import Launch
from local_test.runners.process import name_process

LABEL = "byo.local-test"
"""Marks every container and network of this harness; its value names the process that owns it."""
_UNREACHABLE = (docker.errors.DockerException, requests.exceptions.RequestException)
_IMAGE_FAULTS = (
    "exec format error",
    "executable file not found",
    "no such file or directory",
    "permission denied",
)
"""What engines report as a failure of their own although the image is to blame."""


_OWNER = name_process(os.getpid())


def _is_alive(owner: str) -> bool:
    """Tell whether an owner still runs."""
    return name_process(int(owner.partition("-")[0] or 0)) == owner


@functools.cache
def _connect() -> docker.DockerClient:
    """Give the process's one client of the engine."""
    client = docker.from_env()
    atexit.register(_remove_own, client)
    return client


def _remove_own(client: docker.DockerClient) -> None:
    """Remove at the end what an interruption at a bad moment left without an owner."""
    with contextlib.suppress(*_UNREACHABLE):
        for container in client.containers.list(
            all=True, filters={"label": f"{LABEL}={_OWNER}"}, ignore_removed=True
        ):
            with contextlib.suppress(docker.errors.APIError):
                container.remove(force=True, v=True)
        _remove_networks(client.networks.list(filters={"label": f"{LABEL}={_OWNER}"}))


def _reach() -> docker.DockerClient:
    try:
        client = _connect()
        client.ping()
    except _UNREACHABLE as error:
        message = f"the Docker engine is out of reach: {error}; start it, or use --program instead of an image"
        raise PlatformError(message) from error
    return client


def reap() -> None:
    """Remove what harnesses left behind that were killed and could not.

    Raises: PlatformError if the engine is out of reach.
    """
    client = _reach()
    for container in client.containers.list(
        all=True, filters={"label": LABEL}, ignore_removed=True
    ):
        if not _is_alive(container.labels[LABEL]):
            with contextlib.suppress(docker.errors.APIError):
                container.remove(force=True, v=True)
    for network in client.networks.list(filters={"label": LABEL}):
        if not _is_alive((network.attrs.get("Labels") or {}).get(LABEL, "")):
            with contextlib.suppress(docker.errors.APIError):
                network.remove()


def find_gateway() -> str | None:
    """Return the IPv4 address at which containers reach this machine, or None if there is none."""
    try:
        bridge = _reach().networks.get("bridge")
    except docker.errors.NotFound:  # an engine can run without its default network
        return None
    return _read_gateway(bridge.attrs["IPAM"]["Config"] or [])


def _read_gateway(entries: list[dict[str, str]]) -> str | None:
    """Read the gateway from a network's address settings, as `docker network inspect` prints them.

    An engine that has just created the network (Docker 20.10 at its first start) lists the subnet
    but no gateway. The gateway is then the subnet's first address.
    """
    for entry in entries:
        subnet = ipaddress.ip_network(entry["Subnet"])
        if subnet.version == 4:
            return entry.get("Gateway") or str(subnet[1])
    return None


class DockerRunner:
    """Runs one image."""

    def __init__(
        self,
        image: str,
        *,
        shm_bytes: int = 64 * 1024**2,
        memory_bytes: int | None = None,
        gpus: bool = False,
    ) -> None:
        """`shm_bytes`: the engine's default, which no request can raise (IMG-16).

        Raises: PlatformError if the engine is out of reach, UserError if it does not have the
        image.
        """
        self._image = image
        self._shm_bytes = shm_bytes
        self._memory_bytes = memory_bytes
        self._gpus = gpus
        self._client = _reach()
        try:
            self._labels: dict[str, str] = self._client.images.get(image).labels
        except docker.errors.ImageNotFound as error:
            message = f"the engine has no image {image!r}; build it or pull it first (docker images lists what there is)"
            raise UserError(message) from error
        reap()

    @property
    def description(self) -> str:
        """What runs and how, for logs."""
        return f"image {self._image!r} in the Docker engine"

    def network_interface(self, *, has_peers: bool, is_isolated: bool) -> str:  # noqa: ARG002 - the same for all
        """Give the engine's name for a container's first interface."""
        return "eth0"

    def mount_point(self, root: Path) -> str:  # noqa: ARG002 - the same for all
        """Give the path at which a container sees its job directory."""
        return "/opt/ml"

    def start(self, launch: Launch, on_output: Callable[[bytes], None]) -> DockerContainer:
        """Start a container; see `runner.Runner.start`."""
        if launch.is_multi_model and self._labels.get(contract.MULTI_MODEL_LABEL) != "true":
            message = f"a multi-model endpoint needs an image with the label {contract.MULTI_MODEL_LABEL}=true (IMG-12)"
            raise UserError(message)
        # In another thread, as Ctrl-C reaches the main one: what the engine has begun to make has
        # to be removed.
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            future = pool.submit(self._start, launch, on_output)
            try:
                return future.result()
            except KeyboardInterrupt:
                with contextlib.suppress(UserError, PlatformError):
                    future.result().remove()
                raise

    def _start(self, launch: Launch, on_output: Callable[[bytes], None]) -> DockerContainer:
        names = {path.name for path in launch.root.iterdir()} | set(launch.read_only)
        mounts = [
            docker.types.Mount(
                f"/opt/ml/{name}",
                str(launch.root / name),
                type="bind",
                read_only=name in launch.read_only,
            )
            for name in sorted(names)
        ]
        options: dict[str, Any] = {}
        if launch.entrypoint is not None:
            options["entrypoint"] = list(launch.entrypoint)
        if self._memory_bytes is not None:
            options |= {"mem_limit": self._memory_bytes, "memswap_limit": self._memory_bytes}
        if self._gpus:
            options["device_requests"] = [
                docker.types.DeviceRequest(count=-1, capabilities=[["gpu"]])
            ]
        networks = self._make_networks(launch)
        if networks:
            aliases = [] if launch.names_after_s else [launch.name]
            options["network"] = networks[0].name
            options["networking_config"] = {
                networks[0].name: self._client.api.create_endpoint_config(aliases=aliases)
            }
        elif launch.is_isolated:
            options["network_mode"] = "none"
        elif launch.is_server:
            options["ports"] = {f"{contract.DEFAULT_PORT}/tcp": ("127.0.0.1", None)}
        try:
            container = self._client.containers.create(
                self._image,
                command=list(launch.arguments),
                environment=dict(launch.environment),
                hostname=None
                if launch.names_after_s
                else launch.name,  # the engine makes it known to peers, too
                mounts=mounts,
                labels={LABEL: _OWNER},
                shm_size=self._shm_bytes,
                **options,
            )
            return DockerContainer(container, networks, on_output, launch, self._memory_bytes)
        except _UNREACHABLE as error:
            _remove_networks(networks)
            raise _explain_start(error) from error

    def _make_networks(self, launch: Launch) -> list[Any]:
        """Give the network that a container joins, and the one that brings it its peers' names later (DS-4)."""
        is_shut_off = launch.is_isolated and not launch.is_server  # no network at all
        if not launch.network and (is_shut_off or not launch.is_isolated):
            return []
        name = launch.network or f"local-test-{os.getpid()}-{id(launch)}"
        try:
            return [
                self._make_network(name, is_internal=launch.is_isolated)
                for name in ([name, f"{name}-names"] if launch.names_after_s else [name])
            ]
        except _UNREACHABLE as error:
            message = f"the Docker engine cannot make the network {name}: {error}"
            raise PlatformError(message) from error

    def _make_network(self, name: str, *, is_internal: bool) -> Any:
        found = self._client.networks.list(names=[f"^{name}$"])
        return (
            found[0]
            if found
            else self._client.networks.create(name, internal=is_internal, labels={LABEL: _OWNER})
        )


def _remove_networks(networks: list[Any]) -> None:
    for network in networks:
        with contextlib.suppress(*_UNREACHABLE):  # peers are still in it: the last one removes it
            network.remove()


def _explain_start(error: Exception) -> UserError | PlatformError:
    """Say whose fault it is that a container does not start: the image's, or the engine's own."""
    if isinstance(error, docker.errors.APIError):
        text = str(error.explanation or error)
        if error.is_client_error() or any(sign in text for sign in _IMAGE_FAULTS):
            return UserError(f"the container could not be started: {text} (TRIP-1, TRIP-3, TRIP-4)")
        return PlatformError(f"the Docker engine failed to start the container: {text}")
    return PlatformError(f"the Docker engine was lost: {error}")


def describe_image(image: str) -> dict[str, Any]:
    """Give the engine's description of an image, and the name that it was asked by.

    Raises: PlatformError or UserError as `DockerRunner` does.
    """
    DockerRunner(image)
    attributes: dict[str, Any] = _connect().images.get(image).attrs
    return {**attributes, "name": image}


class DockerContainer:
    """A container in the engine."""

    def __init__(
        self,
        container: Any,
        networks: list[Any],
        on_output: Callable[[bytes], None],
        launch: Launch,
        memory_bytes: int | None,
    ) -> None:
        self.note = ""
        self._container = container
        self._networks = networks
        self._root = launch.root
        self._memory_bytes = memory_bytes
        self._ended = threading.Event()
        self._code = 0
        self._lost = ""
        self._is_removed = False
        self._removing = threading.Lock()
        self._naming = threading.Timer(launch.names_after_s, self._tell_name, (launch.name,))
        try:
            container.start()
        except _UNREACHABLE:
            with contextlib.suppress(*_UNREACHABLE):
                container.remove(force=True)
            raise
        if launch.names_after_s:
            self._naming.daemon = True
            self._naming.start()
        stream = container.logs(stream=True, follow=True)
        self.address = self._find_address() if launch.is_server else ("", 0)
        self._reader = threading.Thread(target=self._read, args=(stream, on_output), daemon=True)
        self._reader.start()
        threading.Thread(target=self._watch, daemon=True, name=f"wait {container.name}").start()

    def _tell_name(self, name: str) -> None:
        """Let peers find it by name from now on, by a second network: leaving the first would break connections."""
        with self._removing:
            if not self._is_removed:
                with contextlib.suppress(*_UNREACHABLE):
                    self._networks[1].connect(self._container, aliases=[name])

    def _find_address(self) -> tuple[str, int]:
        self._container.reload()
        settings = self._container.attrs["NetworkSettings"]
        published = (settings.get("Ports") or {}).get(f"{contract.DEFAULT_PORT}/tcp")
        if published:
            return "127.0.0.1", int(published[0]["HostPort"])
        networks = [
            network["IPAddress"]
            for network in settings["Networks"].values()
            if network.get("IPAddress")
        ]
        return (networks or [""])[0], contract.DEFAULT_PORT

    def _read(self, stream: Any, on_output: Callable[[bytes], None]) -> None:
        with contextlib.suppress(*_UNREACHABLE), contextlib.closing(stream):
            try:
                for piece in stream:
                    on_output(piece)
            except PlatformError as error:  # a fault that was to be injected cannot be
                self._lost = str(error)
                self.kill()

    def _watch(self) -> None:
        try:
            self._code = int(self._container.wait()["StatusCode"])
            if self._code:
                self._explain_end()
        except docker.errors.NotFound:
            self._code = 137  # removed
        except _UNREACHABLE as error:
            self._code = 137
            self._lost = (
                ""
                if self._is_removed
                else f"the Docker engine was lost while the container ran: {error}"
            )
        self._reader.join(5)
        self._ended.set()

    def _explain_end(self) -> None:
        """Note a memory limit that was hit, and fetch failure files that lie where the platform does not look."""
        self._container.reload()
        if self._container.attrs["State"].get("OOMKilled"):
            limit = (
                f"its limit of {self._memory_bytes / 2**20:.0f} MB"
                if self._memory_bytes
                else "what there is"
            )
            self.note = f"out of memory: its processes took more than {limit}"
        places = [entry["Path"] for entry in self._container.diff() or ()]
        for place in places:
            name = place.removeprefix("/opt/ml/")
            if (
                name != place
                and Path(name).name.startswith("failure")
                and not (self._root / name).exists()
            ):
                pieces, _ = self._container.get_archive(place)
                with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as tar:
                    member = tar.next()
                    source = (
                        tar.extractfile(member) if member is not None and member.isfile() else None
                    )
                    if source is not None:
                        (self._root / name).parent.mkdir(parents=True, exist_ok=True)
                        (self._root / name).write_bytes(source.read())

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait for its end; see `runner.Container.wait`."""
        if not self._ended.wait(timeout_s):
            return None
        if self._lost:
            raise PlatformError(self._lost)
        return self._code

    def send_signal(self, number: int) -> None:
        """Send a signal to the main process."""
        with contextlib.suppress(*_UNREACHABLE):  # it has ended
            self._container.kill(signal=int(number))

    def processes(self) -> list[int]:
        """Give the ids, on this machine, of all its processes, the program first."""
        try:
            table = self._container.top(ps_args="-o pid")
        except _UNREACHABLE:
            return []
        return [int(row[0]) for row in table["Processes"]]

    def freeze(self) -> None:
        """Let every process in it stand still until it is killed."""
        with contextlib.suppress(*_UNREACHABLE):
            self._container.pause()

    def kill(self) -> None:
        """Send SIGKILL to every process in it."""
        self.send_signal(9)

    def remove(self) -> None:
        """Leave neither container nor network behind."""
        self._naming.cancel()
        with self._removing:
            self._is_removed = True
            with contextlib.suppress(*_UNREACHABLE):
                self._container.remove(force=True, v=True)
            _remove_networks(self._networks)
            self._networks = []
