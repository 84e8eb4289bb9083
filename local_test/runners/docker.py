"""The Docker runner: an image in the local engine, started as the platform does (IMG-1 to IMG-5).

Each directory of the job directory is mounted by itself below `/opt/ml`, the ones that the platform
protects read-only. What the image has beside them, such as `/opt/ml/code`, stays visible (IMG-7). A
container with network isolation (SEC-1) joins a network without a way out, in which the harness
still reaches it.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import docker.errors
import docker.types
import requests

from container import contract
from container.errors import PlatformError, UserError
from local_test import container_files
from local_test.runners import engine, entry_points, procfs
from local_test.runners.containers import addresses
from local_test.runners.containers.ownership import Takeover
from local_test.runners.engine import UNREACHABLE
from local_test.runners.interface import Launch

_HOSTNAME_CHARACTERS: Final = 64
_TAKEOVER_S: Final = 30  # for the files of a container that is killed
_SHM_BYTES: Final = 64 * 1024**2  # no request to SageMaker can raise it (IMG-16)


class DockerRunner:
    """Runs one image."""

    def __init__(
        self,
        image: str,
        *,
        memory_bytes: int | None = None,
        gpus: bool | None = False,
        shm_bytes: int | None = None,
    ) -> None:
        """Find the image, and remove what harnesses that were killed left in the engine.

        `gpus` None gives all of this machine to the instance types that have some. `shm_bytes` is
        the size of `/dev/shm`, by default what SageMaker is sure to give.

        Raises: PlatformError if the engine cannot be reached, UserError if it does not have the
        image.
        """
        self._image = image
        self._memory_bytes = memory_bytes
        self._gpus = gpus
        self._shm_bytes = shm_bytes or _SHM_BYTES
        self._labels: dict[str, str] = engine.find_image(image).labels
        self._client = engine.connect()
        self._security = engine.choose_security()
        engine.reap()

    @property
    def description(self) -> str:
        """What runs and how, for logs."""
        return f"image {self._image!r} in the Docker engine"

    def network_interface(self, **_: bool) -> str:
        """Return the engine's name for a container's first interface."""
        return "eth0"

    def mount_point(self, root: Path) -> str:  # noqa: ARG002 - fixed
        """Return the path at which a container sees its job directory."""
        return "/opt/ml"

    def start(self, launch: Launch, on_output: Callable[[bytes], None]) -> DockerContainer:
        """Start a container; see `interface.Runner.start`."""
        if launch.is_multi_model:
            self._check_label("a multi-model endpoint", contract.MULTI_MODEL_LABEL)
        if launch.is_one_of_several:
            self._check_label("a model of several containers", contract.BIND_TO_PORT_LABEL)
        # In another thread, since Ctrl-C reaches the main one: what the engine has begun to make
        # has to be removed.
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            future = pool.submit(self._start, launch, on_output)
            try:
                return future.result()
            except KeyboardInterrupt:
                with contextlib.suppress(UserError, PlatformError):
                    future.result().remove()
                raise

    def _check_label(self, what: str, label: str) -> None:
        if self._labels.get(label) != "true":
            raise UserError(
                f"{what} needs an image with the label {label}=true; "
                f"{self._image} does not have it (IMG-12)"
            )

    def _start(self, launch: Launch, on_output: Callable[[bytes], None]) -> DockerContainer:
        networks = self._make_networks(launch)
        options = self._choose_options(launch)
        try:
            if launch.network:
                engine.check_names(networks[0].name)
            container = self._client.containers.create(
                self._image,
                command=list(launch.arguments),
                environment=dict(launch.environment),
                # Peers find each other by hostname, too.
                hostname=None
                if launch.names_after_s
                else launch.name[:_HOSTNAME_CHARACTERS].rstrip("-."),
                mounts=engine.list_mounts(launch.root, launch.read_only),
                labels={engine.LABEL: engine.OWNER},
                **self._security,
                **options,
                **self._choose_network(launch, networks),
            )
            if "device_requests" in options:
                engine.check_gpus(container)
            memory_bytes = launch.memory_bytes or self._memory_bytes
            return DockerContainer(container, networks, on_output, launch, memory_bytes)
        except (UserError, PlatformError):
            engine.remove_networks(networks)
            raise
        except UNREACHABLE as error:
            engine.remove_networks(networks)
            raise engine.explain_start(error) from error

    def _choose_options(self, launch: Launch) -> dict[str, Any]:
        options: dict[str, Any] = {"shm_size": self._shm_bytes}
        if not launch.has_shared_memory:
            options = {"ipc_mode": "none"}
        if launch.is_root_read_only:
            options |= {"read_only": True, "tmpfs": {"/tmp": ""}}  # noqa: S108 - in the container
        if launch.entrypoint is not None:
            options["entrypoint"] = list(launch.entrypoint)
        memory_bytes = launch.memory_bytes or self._memory_bytes
        if memory_bytes is not None:
            options["mem_limit"] = memory_bytes
            options["memswap_limit"] = memory_bytes
        if launch.wants_gpus if self._gpus is None else self._gpus:
            all_gpus = docker.types.DeviceRequest(count=-1, capabilities=[["gpu"]])
            options["device_requests"] = [all_gpus]
        return options

    def _choose_network(self, launch: Launch, networks: list[Any]) -> dict[str, Any]:
        if networks:
            name = networks[0].name
            aliases = [] if launch.names_after_s else [launch.name]
            endpoint = self._client.api.create_endpoint_config(aliases=aliases)
            return {"network": name, "networking_config": {name: endpoint}}
        if launch.is_isolated:
            return {"network_mode": "none"}
        if launch.is_server:
            return {"ports": {f"{launch.port}/tcp": ("127.0.0.1", None)}}
        return {}

    def _make_networks(self, launch: Launch) -> list[Any]:
        """Return the network that a container joins, and one for names that come late (DS-4)."""
        has_own = launch.is_isolated and launch.is_server
        if not launch.network and not has_own:
            return []
        name = launch.network or f"local-test-{id(launch)}"
        name += f"-{engine.OWNER}"  # another harness may run a job of the same name
        names = [name, f"{name}-names"] if launch.names_after_s else [name]
        try:
            return [engine.join_network(name, is_internal=launch.is_isolated) for name in names]
        except UNREACHABLE as error:
            message = f"the Docker engine cannot make the network {name}: {error}"
            raise PlatformError(message) from error


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
        self.address = ("", 0)
        self._container = container
        self._networks = networks
        self._root = launch.root
        self._takeover = Takeover(container, launch.root, launch.read_only)
        self._port = launch.port
        self._memory_bytes = memory_bytes
        self._ended = threading.Event()
        self._code = 0
        self._lost = ""
        self._is_removed = False
        self._removing = threading.Lock()
        self._naming = threading.Timer(launch.names_after_s, self._publish_name, (launch.name,))
        try:
            container.start()
        except UNREACHABLE as error:
            reason = entry_points.explain_container(container, said=str(error))
            with contextlib.suppress(*UNREACHABLE):
                container.remove(force=True)
            raise engine.explain_start(error, reason) from error
        if launch.names_after_s:
            self._naming.daemon = True
            self._naming.start()
        if launch.is_server:
            self.address = self._find_address()
        self._reader = threading.Thread(target=self._read, args=(on_output,), daemon=True)
        self._reader.start()
        threading.Thread(target=self._watch, daemon=True, name=f"wait {container.name}").start()

    def _publish_name(self, name: str) -> None:
        """Join a second network with the name: leaving the first would break connections."""
        with self._removing:
            if not self._is_removed:
                with contextlib.suppress(*UNREACHABLE):
                    self._networks[1].connect(self._container, aliases=[name])

    def _find_address(self) -> tuple[str, int]:
        self._container.reload()
        settings = self._container.attrs["NetworkSettings"]
        published = (settings.get("Ports") or {}).get(f"{self._port}/tcp")
        if published:
            return "127.0.0.1", int(published[0]["HostPort"])
        try:
            return addresses.find_own_address(settings["Networks"].values()), self._port
        except PlatformError:
            self._container.remove(force=True)
            raise

    def _read(self, on_output: Callable[[bytes], None]) -> None:
        with contextlib.suppress(*UNREACHABLE), contextlib.closing(self._follow_log()) as stream:
            try:
                for piece in stream:
                    on_output(piece)
            except PlatformError as error:  # a fault that was to be injected cannot be
                self._lost = str(error)
                self.kill()

    def _follow_log(self) -> Any:
        """Return the log from its start; Podman does not answer before the first line of it."""
        while True:
            with contextlib.suppress(requests.exceptions.ReadTimeout):
                return self._container.logs(stream=True, follow=True)

    def _watch(self) -> None:
        try:
            self._code = int(self._container.wait()["StatusCode"])
            self._takeover.run()
            if self._code:
                self.note = self._find_note()
                self._fetch_failures()
        except docker.errors.NotFound:
            self._code = 137  # removed
        except UNREACHABLE as error:
            self._code = 137
            if not self._is_removed:
                self._lost = f"lost the Docker engine while the container ran: {error}"
        self._reader.join(5)
        self._ended.set()

    def _find_note(self) -> str:
        self._container.reload()
        if not self._container.attrs["State"].get("OOMKilled"):
            return entry_points.explain_container(self._container)
        limit = "this machine has"
        if self._memory_bytes:
            limit = f"its limit of {self._memory_bytes / 2**20:.0f} MB"
        return f"out of memory: its processes took more than {limit}"

    def _fetch_failures(self) -> None:
        """Copy failure files from places of the container where the platform does not look."""
        for entry in self._container.diff() or ():
            place = Path(entry["Path"])
            if not place.is_relative_to("/opt/ml") or not place.name.startswith("failure"):
                continue
            pieces, _ = self._container.get_archive(str(place))
            text = engine.read_first_file(pieces)
            if text is not None:
                container_files.write_new(self._root, place.relative_to("/opt/ml").as_posix(), text)

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait for its end; see `interface.Container.wait`."""
        if not self._ended.wait(timeout_s):
            return None
        if self._lost:
            raise PlatformError(self._lost)
        return self._code

    def send_signal(self, number: int) -> None:
        """Send a signal to the first process."""
        with contextlib.suppress(*UNREACHABLE):  # it has ended
            self._container.kill(signal=int(number))

    def processes(self) -> list[int]:
        """Return the IDs, on this machine, of its processes, the first one at the head.

        None is, where the engine runs in a virtual machine or on another host.
        """
        try:
            table = self._container.top(ps_args="-o pid")
        except UNREACHABLE:
            return []
        pids = [int(row[0]) for row in table["Processes"]]
        return [pid for pid in pids if procfs.is_in_container(pid, self._container.id)]

    def freeze(self) -> None:
        """Pause every process in it until it is killed."""
        with contextlib.suppress(*UNREACHABLE):
            self._container.pause()

    def kill(self) -> None:
        """Send SIGKILL to every process in it."""
        self.send_signal(9)

    def remove(self) -> None:
        """Remove the container and its networks."""
        self._naming.cancel()
        if not self._ended.is_set():
            self.kill()
            self._ended.wait(_TAKEOVER_S)
        with self._removing:
            self._is_removed = True
            with contextlib.suppress(*UNREACHABLE):
                self._container.remove(force=True, v=True)
            engine.remove_networks(self._networks)
            self._networks = []
