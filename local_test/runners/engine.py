"""The Docker engine: the connection to it, and what belongs to this harness in it."""

import atexit
import contextlib
import functools
import io
import os
import re
import sys
import tarfile
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any, Final

import docker
import docker.errors
import docker.types
import requests
from docker.context import ContextAPI
from docker.context.config import get_current_context_name

from container.errors import PlatformError, UserError
from local_test.runners.procfs import name_process

_FIRST_FILE_BYTES: Final = 64 * 1024
_PATIENCE_S: Final = 300  # for one answer: rootless Podman may copy the image for each container
LABEL: Final = "byo.local-test"
"""Marks every container and network of this harness; its value names the process that owns it."""
OWNER: Final = name_process(os.getpid())
UNREACHABLE: Final = (docker.errors.DockerException, requests.exceptions.RequestException)
"""What the client raises when the engine refuses, or cannot be reached."""
_IMAGE_FAULT: Final = re.compile(
    r"exec format error|crun: (executable file|open executable)"
    r"|\bexec\b.*(executable file not found|no such file or directory|permission denied)",
    re.IGNORECASE | re.DOTALL,
)
"""What engines report as their own failure although the image is to blame."""


@functools.cache
def connect() -> docker.DockerClient:
    """Return the process's client, whose containers and networks are removed at exit.

    Raises: PlatformError for a Docker context that does not exist or cannot be read, for which
        the client would silently take the default engine.
    """
    _check_context()
    client = docker.from_env(timeout=_PATIENCE_S)
    atexit.register(_remove_own, client)
    return client


def _check_context() -> None:
    if os.environ.get("DOCKER_HOST"):  # it comes first
        return
    name = os.environ.get("DOCKER_CONTEXT") or get_current_context_name()
    reason = "it does not exist"
    folder = Path(os.environ.get("DOCKER_CONFIG") or "~/.docker").expanduser()
    if not (folder / "config.json").exists():  # beside which the client looks for contexts
        reason = f"{folder} has no config.json; an empty one, {{}}, is enough"
    try:
        if ContextAPI.get_context(name) is not None:
            return
    except Exception as error:  # noqa: BLE001 - the client has no narrower one for a damaged file
        reason = str(error)
    raise PlatformError(
        f"cannot use the Docker context {name!r}: {reason}; see `docker context ls`, and choose "
        "one with `docker context use` or DOCKER_CONTEXT"
    )


def reach() -> docker.DockerClient:
    """Return the client of an engine that answers.

    Raises: PlatformError if the engine cannot be reached.
    """
    try:
        client = connect()
        client.ping()
    except PlatformError:
        raise
    except Exception as error:  # ssh:// and a damaged config.json fail in ways of their own
        raise PlatformError(
            f"cannot reach the Docker engine: {error}; "
            "start it, or use --program instead of an image"
        ) from error
    return client


def find_image(name: str) -> Any:
    """Return an image of the engine.

    Raises: PlatformError if the engine cannot be reached or fails, UserError if it has no such
        image, or the name is not one.
    """
    try:
        return reach().images.get(name)
    except docker.errors.ImageNotFound as error:
        message = f"the engine has no image {name!r}; build or pull it, or see `docker images`"
        raise UserError(message) from error
    except docker.errors.APIError as error:
        said = str(error.explanation or error)
        if error.is_client_error():
            raise UserError(f"the engine refuses the image name {name!r}: {said}") from error
        raise PlatformError(f"the engine cannot look up the image {name!r}: {said}") from error


def describe_image(name: str) -> dict[str, Any]:
    """Return the engine's description of an image, and `name`.

    Raises: PlatformError, UserError as `find_image` does.
    """
    return {**find_image(name).attrs, "name": name}


def reap() -> None:
    """Remove what harnesses that were killed left behind.

    Raises: PlatformError if the engine cannot be reached.
    """
    _remove(reach(), LABEL, lambda owner: name_process(int(owner.partition("-")[0] or 0)) != owner)


def _remove_own(client: docker.DockerClient) -> None:
    """Remove what an interruption at a bad moment left without an owner."""
    with contextlib.suppress(*UNREACHABLE):
        _remove(client, f"{LABEL}={OWNER}", lambda _: True)


def _remove(client: docker.DockerClient, label: str, concerns: Callable[[str], bool]) -> None:
    containers = client.containers
    for container in containers.list(all=True, filters={"label": label}, ignore_removed=True):
        if concerns(container.labels[LABEL]):
            with contextlib.suppress(docker.errors.APIError):
                container.remove(force=True, v=True)
    networks = client.networks.list(filters={"label": label})
    remove_networks(
        network
        for network in networks
        if concerns((network.attrs.get("Labels") or {}).get(LABEL, ""))
    )


def list_mounts(root: Path, read_only: Collection[str]) -> list[docker.types.Mount]:
    """Return mounts of each directory below `root` below `/opt/ml`."""
    names = sorted({path.name for path in root.iterdir()} | set(read_only))
    return [
        docker.types.Mount(
            f"/opt/ml/{name}", str(root / name), type="bind", read_only=name in read_only
        )
        for name in names
    ]


def choose_security() -> dict[str, Any]:
    """Return the options that let a container read what is mounted.

    Where SELinux protects the engine, containers may read only files with their label. They run
    without labels then: new labels (`:z`) would also be those of the user's own data, of which a
    channel has hard links.

    Raises: PlatformError if the engine does not answer.
    """
    try:
        options = connect().info().get("SecurityOptions") or ()
    except UNREACHABLE as error:
        raise PlatformError(f"the Docker engine does not describe itself: {error}") from error
    if any(option.startswith("name=selinux") for option in options):
        return {"security_opt": ["label=disable"]}
    return {}


def join_network(name: str, *, is_internal: bool) -> Any:
    """Return the network of a name; the first call creates it."""
    networks = connect().networks
    found = networks.list(names=[f"^{name}$"])
    if found:
        return found[0]
    return networks.create(name, internal=is_internal, labels={LABEL: OWNER})


def check_names(network: str) -> None:
    """Check that the containers in a network find each other by name.

    Raises: PlatformError if they do not, as in Podman's CNI without its plug-in for names.
    """
    if not is_podman():
        return
    api = connect().api
    answer = api.get(f"{api.base_url}/v4.0.0/libpod/networks/{network}/json")
    if answer.ok and not answer.json()["dns_enabled"]:
        raise PlatformError(
            "the hosts of a job cannot find each other: Podman's networks have no names here; "
            "install netavark and aardvark-dns, and set network_backend in containers.conf (DS-4)"
        )


def remove_networks(networks: Iterable[Any]) -> None:
    """Remove those networks that nobody is in; the last one to leave removes the others."""
    for network in networks:
        with contextlib.suppress(*UNREACHABLE):
            network.remove()


def is_in_virtual_machine() -> bool:
    """Return whether the engine runs in a virtual machine that forwards to this one's loopback.

    Raises: PlatformError if the engine cannot be reached.
    """
    if sys.platform != "linux":
        return True  # Docker Desktop, Colima, OrbStack, Podman machine
    return str(reach().info().get("OperatingSystem", "")) == "Docker Desktop"


@functools.cache
def is_rootless() -> bool:
    """Return whether the engine runs as a user of this machine, in a network of its own.

    Raises: PlatformError if the engine cannot be reached.
    """
    described = reach().info()
    return bool(
        described.get("Rootless") or "name=rootless" in (described.get("SecurityOptions") or ())
    )


def is_podman() -> bool:
    """Return whether the engine is Podman."""
    components = reach().version().get("Components") or ()
    return "Podman Engine" in [item.get("Name") for item in components]


def is_local() -> bool:
    """Return whether the engine listens on a socket of this machine."""
    return bool(reach().api.base_url.startswith("http+docker:"))


def find_owner() -> tuple[int, int]:
    """Return this user and its group, as containers number them."""
    return (0, 0) if is_rootless() else (os.getuid(), os.getgid())


def check_gpus(container: Any) -> None:
    """Check that the engine took the request for GPUs; otherwise remove the container.

    Raises: UserError if it ignored the request, as Podman does.
    """
    container.reload()
    settings = container.attrs["HostConfig"]
    if settings.get("DeviceRequests") or settings.get("Devices"):
        return
    with contextlib.suppress(*UNREACHABLE):
        container.remove(force=True)
    raise UserError(
        "the engine ignores requests for GPUs, as Podman does: choose an instance type without "
        "GPUs, or use Docker with NVIDIA's container toolkit (GPU-1)"
    )


def explain_start(error: Exception, reason: str = "") -> UserError | PlatformError:
    """Return whose fault it is that a container does not start: the image's or the engine's.

    `reason` is what is wrong with its entry point, where that was found.
    """
    if not isinstance(error, docker.errors.APIError):
        return PlatformError(f"lost the Docker engine: {error}")
    text = str(error.explanation or error)
    if "could not select device driver" in text:
        return UserError(
            "the engine has no GPU to give: choose an instance type without GPUs, or install "
            f"NVIDIA's container toolkit on a machine with one (GPU-1): {text}"
        )
    if _IMAGE_FAULT.search(text):
        return UserError(f"the container could not be started: {reason or text}")
    if error.is_client_error():
        return UserError(f"the container could not be started: {text}")
    return PlatformError(f"the Docker engine failed to start the container: {text}")


def read_first_file(pieces: Iterable[bytes]) -> bytes | None:
    """Return the start of the file that an engine's archive begins with; None for anything else."""
    body = b""
    for piece in pieces:
        body += piece
        if len(body) > _FIRST_FILE_BYTES:
            break
    with contextlib.suppress(tarfile.TarError), tarfile.open(fileobj=io.BytesIO(body)) as tar:
        member = tar.next()
        if member is not None and member.isfile():
            return body[member.offset_data : member.offset_data + member.size]
    return None
