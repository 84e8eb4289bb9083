"""Starts programs by `namespace.py`, in a private view of this machine where it allows one."""

import collections
import contextlib
import functools
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from container.errors import PlatformError
from local_test.runners import loopback
from local_test.runners.interface import Launch

_KEPT_VARIABLES = ("LD_LIBRARY_PATH", "TMPDIR", "SYSTEMROOT")
_LOCALHOST = "127.0.0.1 localhost\n"
_NAMELESS = b"[local_test] hosts find each other by name only with namespaces or an image (DS-4)\n"
_CONNECTED = (
    b"[local_test] this program is not isolated and reaches the network: without namespaces "
    b"(Linux), only an image in Docker can be isolated (SEC-1)\n"
)
_SCRIPT = Path(__file__).with_name("namespace.py")


def wrap(specification: Mapping[str, Any], command: Sequence[str]) -> list[str]:
    """Return the command that runs `command` in the view that a specification describes."""
    text = json.dumps({"harness": os.getpid(), **specification})
    return [sys.executable, "-I", "-S", str(_SCRIPT), text, *command]


@functools.cache
def has_namespaces() -> bool:
    """Return whether this user can have a private `/opt/ml` on this machine."""
    return sys.platform == "linux" and _probe({})


@functools.cache
def has_networks() -> bool:
    """Return whether this user can give the hosts of a job a network of their own."""
    if not has_namespaces():
        return False
    try:
        files = _open_switch()
    except PlatformError:
        return False
    switch = {"files": files, "address": "10.0.0.1"}
    try:
        return _probe({"is_isolated": True, "switch": switch}, files)
    finally:
        for file in files:
            os.close(file)


def _probe(specification: Mapping[str, Any], files: tuple[int, ...] = ()) -> bool:
    with tempfile.TemporaryDirectory(prefix="local-test-") as root:
        command = wrap({"root": root, **specification}, ["true"])
        options: dict[str, Any] = {"capture_output": True, "pass_fds": files}
        done = subprocess.run(command, check=False, **options)  # noqa: S603 - our own script
        return done.returncode == 0


class Switches:
    """The switches that connect isolated hosts, one for each network that is in use."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[int, ...]] = {}
        self._users: collections.Counter[str] = collections.Counter()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def share(self, network: str) -> Iterator[tuple[int, ...]]:
        """Yield the open files of a network's switch, which ends with its last user.

        Raises: PlatformError if this machine does not allow a switch.
        """
        with self._lock:
            if network not in self._files:
                self._files[network] = _open_switch()
            self._users[network] += 1
        try:
            yield self._files[network]
        finally:
            with self._lock:
                self._users[network] -= 1
                if not self._users[network]:
                    del self._users[network]
                    for file in self._files.pop(network):
                        os.close(file)


def _open_switch() -> tuple[int, ...]:
    """Make a switch and return its namespaces' open files, which keep it alive."""
    names = ("net",) if os.getuid() == 0 else ("user", "net")
    with subprocess.Popen(  # noqa: S603 - our own script
        wrap({"is_switch": True}, ()),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as switch:
        assert switch.stdout is not None  # noqa: S101 - it is a pipe
        answer = switch.stdout.readline()
        if answer != b"ready\n":
            reason = answer.decode(errors="replace").strip()
            message = f"hosts cannot have a network of their own on this machine: {reason}"
            raise PlatformError(message)
        return tuple(os.open(f"/proc/{switch.pid}/ns/{name}", os.O_RDONLY) for name in names)


def write_hosts(path: Path, addresses: Mapping[str, str], launch: Launch) -> str | None:
    """Write a container's /etc/hosts; late names are added to the same file, which is mounted.

    This machine's own name stands for the container, as an engine has it: gloo looks it up.
    """
    if not addresses:
        return None
    own = _LOCALHOST + f"{addresses[launch.name]} {socket.gethostname()}\n"
    text = own + "".join(f"{address} {name}\n" for name, address in addresses.items())
    if not launch.names_after_s:
        path.write_text(text, "utf-8")
        return str(path)
    path.write_text(f"{own}{addresses[launch.name]} {launch.name}\n", "utf-8")
    timer = threading.Timer(launch.names_after_s, _rewrite, (path, text))
    timer.daemon = True
    timer.start()
    return str(path)


def check_memory(memory_bytes: int | None) -> None:
    """Check that this machine can limit the memory of a program.

    Raises: PlatformError for a limit where there is no /proc.
    """
    if memory_bytes is not None and not Path("/proc/self/smaps_rollup").exists():
        message = "a program's memory can be limited on Linux only; use an image in Docker"
        raise PlatformError(message)


def write_cgroup(directory: Path, memory_bytes: int) -> Path:
    """Write a container's memory limit where programs look for it; keep this machine's CPU quota.

    The directory will be seen at /sys/fs/cgroup.
    """
    directory.mkdir()
    (directory / "memory.max").write_text(f"{memory_bytes}\n", "ascii")
    for name in ("cpu.max", "cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"):
        quota = Path("/sys/fs/cgroup", name)
        if quota.is_file():
            (directory / name).parent.mkdir(exist_ok=True)
            (directory / name).write_bytes(quota.read_bytes())
    return directory


def _rewrite(path: Path, text: str) -> None:
    with contextlib.suppress(FileNotFoundError), path.open("r+", encoding="utf-8") as file:
        file.write(text)  # unless the container has ended


def make_environment(launch: Launch) -> dict[str, str]:
    """Return the platform's variables, and those without which a program cannot start here."""
    kept = {key: os.environ[key] for key in _KEPT_VARIABLES if key in os.environ}
    python = str(Path(sys.executable).parent)
    path = os.pathsep.join((python, os.environ.get("PATH", os.defpath)))
    own = {"PATH": path, "LANG": "C.UTF-8", "PIP_CACHE_DIR": _find_pip_cache()}
    return {**kept, **own, **launch.environment}


def check_openness(launch: Launch) -> None:
    """Check that a container can do without a private view of this machine.

    Raises: PlatformError if it cannot.
    """
    if launch.names_after_s:
        raise PlatformError("slow-dns needs namespaces (Linux), or an image in Docker (DS-4)")
    if launch.is_root_read_only or not launch.has_shared_memory:
        raise PlatformError(
            "a read-only file system or one without /dev/shm needs namespaces (Linux), "
            "or an image in Docker (SRV-1)"
        )


def report_gaps(launch: Launch, on_output: Callable[[bytes], None], *, is_private: bool) -> None:
    """Log what this system cannot keep from a program, or a program's ports from."""
    if launch.is_isolated and not is_private:
        on_output(_CONNECTED)
    if len(launch.peers) > 1 and not is_private:
        on_output(_NAMELESS)
    if launch.is_server and sys.platform != "linux":
        on_output(loopback.EXPOSED)


def choose_home(launch: Launch, empty: str) -> str:
    """Return the home: empty and writable as an image's /root is, unless nothing is writable."""
    return "/root" if launch.is_root_read_only else empty


def _find_pip_cache() -> str:
    """Return this user's cache of pip: a container's HOME is empty, so it would download again."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return os.environ.get("PIP_CACHE_DIR") or str(Path(cache, "pip"))
