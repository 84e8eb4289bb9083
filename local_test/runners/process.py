"""The process runner: any command line, in a private `/opt/ml` where the machine allows one.

Where it does not (no Linux, namespaces forbidden) the program is told by `SAGEMAKER_BASE_DIR` where
its `/opt/ml` is; nothing is read-only then, and no network is shut off. Servers are told their port
by `SAGEMAKER_BIND_TO_PORT`.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from container import contract
from container.errors import PlatformError, UserError
from local_test.runners.interface import Launch

_LAUNCHER = Path(__file__).with_name("namespace.py")
_LOCALHOST = "127.0.0.1 localhost\n"
_MEMORY_INTERVAL_S = 0.05
_KEPT_VARIABLES = ("LD_LIBRARY_PATH", "TMPDIR", "SYSTEMROOT")


class ProcessRunner:
    """Runs `command` with the platform's arguments appended, as an image's entry point is run."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        directory: Path | None = None,
        is_private: bool | None = None,
        memory_bytes: int | None = None,
    ) -> None:
        """`directory` is the program's working directory; `is_private` None tries namespaces and does without.

        `memory_bytes`: a container whose processes together take more is killed, some moments later (Linux).

        Raises: PlatformError for a memory limit where there is no /proc.
        """
        if memory_bytes is not None and not Path("/proc/self/smaps_rollup").exists():
            message = (
                "a program's memory cannot be limited here, only on Linux; use an image in Docker"
            )
            raise PlatformError(message)
        self._memory_bytes = memory_bytes
        self._command = tuple(command)
        self._directory = directory or Path.cwd()
        self.is_private = has_namespaces() if is_private is None else is_private
        self._switches: dict[str, tuple[int, ...]] = {}
        self._plugged: collections.Counter[str] = collections.Counter()
        self._switching = threading.Lock()

    @property
    def description(self) -> str:
        """What runs and how, for logs."""
        view = (
            "a private /opt/ml" if self.is_private else f"{contract.BASE_DIR_VARIABLE} for /opt/ml"
        )
        return f"process {' '.join(self._command)!r} with {view}"

    def network_interface(self, *, has_peers: bool, is_isolated: bool) -> str:
        """Give the interface of the hosts' own network, else this machine's loopback: all hosts are this machine."""
        if has_peers and is_isolated and self.is_private and has_networks():
            return "eth0"
        return "lo" if sys.platform == "linux" else "lo0"

    def mount_point(self, root: Path) -> str:
        """Give the path at which the program sees its job directory."""
        return "/opt/ml" if self.is_private else str(root)

    def start(self, launch: Launch, on_output: Callable[[bytes], None]) -> ProcessContainer:
        """Start the program; see `runner.Runner.start`."""
        command = [*(launch.entrypoint or self._command), *launch.arguments]
        environment = self._environment(launch)
        address = ("127.0.0.1", 0)
        if launch.is_server:
            # A server that is bound to 127.0.0.1 alone is out of the platform's reach; on Linux
            # 127.0.0.2 finds it out.
            address = ("127.0.0.2" if sys.platform == "linux" else "127.0.0.1", find_free_port())
            environment[contract.BIND_TO_PORT_VARIABLE] = str(address[1])
        executable = shutil.which(command[0], path=environment["PATH"])
        if executable is None and not (self._directory / command[0]).exists():
            message = f"{command[0]!r} is not an executable on PATH: {environment['PATH']}"
            raise UserError(message)
        if launch.names_after_s and not self.is_private:
            message = "names cannot come late here: that needs a private /etc/hosts (Linux namespaces), or Docker (DS-4)"
            raise PlatformError(message)
        with contextlib.ExitStack() as resources:
            scratch = Path(tempfile.mkdtemp(prefix="local-test-"))
            resources.callback(shutil.rmtree, scratch, ignore_errors=True)
            environment["HOME"] = str(scratch)  # writable and empty, as an image's /root is
            files: tuple[int, ...] = ()
            if self.is_private:
                has_switch = bool(launch.network) and launch.is_isolated and has_networks()
                addresses = {
                    name: f"{'10' if has_switch else '127'}.0.0.{n}"
                    for n, name in enumerate(launch.peers, 1)
                }
                specification: dict[str, Any] = {
                    "root": str(launch.root),
                    "read_only": launch.read_only,
                    "hosts_file": _write_hosts(scratch / "hosts", launch, addresses),
                    "is_isolated": launch.is_isolated
                    and not launch.is_server
                    and (has_switch or not launch.network),
                }
                if has_switch:
                    files = resources.enter_context(self._share_switch(launch.network))
                    specification["switch"] = {"files": files, "address": addresses[launch.name]}
                command = _wrap(specification, command)
            else:
                environment[contract.BASE_DIR_VARIABLE] = str(launch.root)
                if sys.platform == "linux":
                    command = _wrap({}, command)
            launchers = 2 if self.is_private else 0
            given = resources.pop_all()
        program = _Program(
            command, environment, self._directory, files, given, launchers, self._memory_bytes
        )
        return ProcessContainer(program, address, on_output)

    @contextlib.contextmanager
    def _share_switch(self, network: str) -> Iterator[tuple[int, ...]]:
        """Give the open files of a network's switch; when nobody has them any more, it is gone."""
        with self._switching:
            if network not in self._switches:
                self._switches[network] = _open_switch()
            self._plugged[network] += 1
        try:
            yield self._switches[network]
        finally:
            with self._switching:
                self._plugged[network] -= 1
                if not self._plugged[network]:
                    del self._plugged[network]
                    for file in self._switches.pop(network):
                        os.close(file)

    def _environment(self, launch: Launch) -> dict[str, str]:
        """Give the platform's variables and, of this machine's, only those that a program cannot start without."""
        kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        path = os.pathsep.join(
            (str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))
        )
        return {**kept, "PATH": path, "LANG": "C.UTF-8", **launch.environment}


class _Program(NamedTuple):
    command: Sequence[str]
    environment: dict[str, str]
    directory: Path
    files: tuple[int, ...]
    """Open files that the launcher needs."""
    resources: contextlib.ExitStack
    """What is the container's own on this machine; given back when it has ended."""
    launchers: int
    """How many processes stand before the program itself."""
    memory_bytes: int | None


class ProcessContainer:
    """A running program and everything that it started."""

    def __init__(
        self, program: _Program, address: tuple[str, int], on_output: Callable[[bytes], None]
    ) -> None:
        self.address = address
        self.note = ""
        self._launchers = program.launchers
        self._ended = threading.Event()
        self._code = 0
        self._started = threading.Event()
        self._error: OSError | None = None
        self._fault: PlatformError | None = None
        # The thread that starts the process outlives it: the kernel ties a launcher to the thread
        # that it came from.
        threading.Thread(target=self._run, args=(program, on_output), daemon=True).start()
        try:
            self._started.wait()
        except KeyboardInterrupt:  # whoever asked gets no container, so nobody else removes it
            self._started.wait()
            if self._error is None:
                self.remove()
            raise
        if self._error is not None:
            program.resources.close()
            message = (
                f"{program.command[0]} cannot be started in {program.directory}: {self._error}"
            )
            raise UserError(message) from self._error

    def _run(self, program: _Program, on_output: Callable[[bytes], None]) -> None:
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the user's own command
                program.command,
                env=program.environment,
                cwd=program.directory,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=program.files,
            )
        except OSError as error:
            self._error = error
            self._started.set()
            return
        watcher = threading.Thread(target=self._watch, daemon=True)
        watcher.start()
        if program.memory_bytes is not None:
            threading.Thread(
                target=self._limit_memory, args=(program.memory_bytes,), daemon=True
            ).start()
        self._started.set()
        output = self._process.stdout
        assert output is not None  # noqa: S101 - asked for above
        try:
            with output:
                while piece := os.read(output.fileno(), 65536):
                    on_output(piece)
        except PlatformError as error:  # a fault that was to be injected cannot be
            self._fault = error
            self.kill()
        finally:
            watcher.join()
            program.resources.close()
            self._ended.set()

    def _watch(self) -> None:
        code = self._process.wait()
        self._code = 128 - code if code < 0 else code
        self._kill_group()  # whoever outlives the main process would hold its output open

    def _limit_memory(self, limit_bytes: int) -> None:
        """Kill as the kernel does; a limit by address space would hit what was only reserved."""
        while not self._ended.wait(_MEMORY_INTERVAL_S):
            pids = self.processes()
            # The quick count first: it counts what processes share several times.
            if sum(map(_count_resident_bytes, pids)) <= limit_bytes:
                continue
            used = sum(map(_count_own_bytes, pids))
            if used > limit_bytes:
                limit = f"its limit of {limit_bytes / 2**20:.0f} MB"
                self.note = (
                    f"out of memory: its processes took {used / 2**20:.0f} MB, more than {limit}"
                )
                self.kill()
                return

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait for the end of program and output; see `runner.Container.wait`."""
        if not self._ended.wait(timeout_s):
            return None
        if self._fault is not None:
            raise self._fault
        return self._code

    def send_signal(self, number: int) -> None:
        """Send a signal to the main process."""
        if self._process.poll() is None:
            self._process.send_signal(number)

    def processes(self) -> list[int]:
        """Give the program and all that descend from it; without /proc the program alone."""
        pids = [self._process.pid]
        for pid in pids:
            with contextlib.suppress(OSError):
                children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
                pids += [int(child) for child in children.split()]
        return pids[self._launchers :]

    def freeze(self) -> None:
        """Stop every process of the program; the launcher goes on waiting."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def kill(self) -> None:
        """Send SIGKILL to the process group; a namespace's processes die with it."""
        if self._process.poll() is None:
            self._kill_group()

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def remove(self) -> None:
        """Kill what still runs and wait for its end."""
        self.kill()
        self._ended.wait()


@functools.cache
def has_namespaces() -> bool:
    """Tell whether this machine lets this user make a private `/opt/ml`."""
    if sys.platform != "linux":
        return False
    return _probe({})


@functools.cache
def has_networks() -> bool:
    """Tell whether this machine lets this user give the hosts of a job a network of their own."""
    if not has_namespaces():
        return False
    try:
        files = _open_switch()
    except PlatformError:
        return False
    try:
        return _probe(
            {"is_isolated": True, "switch": {"files": files, "address": "10.0.0.1"}}, files
        )
    finally:
        for file in files:
            os.close(file)


def _probe(specification: Mapping[str, Any], files: tuple[int, ...] = ()) -> bool:
    with tempfile.TemporaryDirectory(prefix="local-test-") as root:
        probe = _wrap({"root": root, **specification}, ["true"])
        return (
            subprocess.run(probe, check=False, capture_output=True, pass_fds=files).returncode == 0  # noqa: S603
        )


def _wrap(specification: Mapping[str, Any], command: Sequence[str]) -> list[str]:
    text = json.dumps({"harness": os.getpid(), **specification})
    return [sys.executable, "-I", "-S", str(_LAUNCHER), text, *command]


def _open_switch() -> tuple[int, ...]:
    """Make a switch and give its namespaces' open files, by which it lives.

    Raises: PlatformError if this machine does not allow that.
    """
    names = ("net",) if os.getuid() == 0 else ("user", "net")
    with subprocess.Popen(  # noqa: S603 - ours
        _wrap({"is_switch": True}, ()),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as switch:
        assert switch.stdout is not None  # noqa: S101 - asked for above
        answer = switch.stdout.readline()
        if answer != b"ready\n":
            message = f"hosts cannot have a network of their own here: {answer.decode(errors='replace').strip()}"
            raise PlatformError(message)
        return tuple(os.open(f"/proc/{switch.pid}/ns/{name}", os.O_RDONLY) for name in names)


def find_free_port() -> int:
    """Give a port that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", 0))  # noqa: S104 - free on every address, as the server will ask
        return int(listener.getsockname()[1])


def name_process(pid: int) -> str:
    """Name a process so that a later one of the same id has another name; empty for one that has ended.

    One that was killed and whose parent has not asked for its end, as in a container whose first
    process asks for nobody's, is still in /proc: it has ended.
    """
    if not Path("/proc/self/stat").exists():
        return _name_by_signal(pid)
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else f"{pid}-{fields[19]}"


def _name_by_signal(pid: int) -> str:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return str(pid)


def _write_hosts(path: Path, launch: Launch, addresses: Mapping[str, str]) -> str | None:
    """Write a container's /etc/hosts; late names are added to the same file, as that is what is mounted."""
    if not addresses:
        return None
    lines = [f"{address} {name}\n" for name, address in addresses.items()]
    if launch.names_after_s:
        path.write_text(f"{_LOCALHOST}{addresses[launch.name]} {launch.name}\n", "utf-8")
        timer = threading.Timer(
            launch.names_after_s, _add_late, (path, _LOCALHOST + "".join(lines))
        )
        timer.daemon = True
        timer.start()
    else:
        path.write_text(_LOCALHOST + "".join(lines), "utf-8")
    return str(path)


def _add_late(path: Path, text: str) -> None:
    with (
        contextlib.suppress(FileNotFoundError),
        path.open("r+", encoding="utf-8") as file,
    ):  # the container has ended
        file.write(text)


def _count_resident_bytes(pid: int) -> int:
    """Give a process's anonymous memory, shared pages counted whole; 0 for one that is gone."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
    except OSError:
        return 0
    return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGESIZE")


def _count_own_bytes(pid: int) -> int:
    """Give a process's anonymous memory, of shared pages its part; 0 for one that is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return (
        sum(int(line.split()[1]) for line in lines if line.startswith(("Pss_Anon:", "SwapPss:")))
        * 1024
    )
