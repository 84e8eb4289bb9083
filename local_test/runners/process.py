"""The process runner: any command, in a private `/opt/ml` where the machine allows one.

Where it does not (no Linux, or namespaces are forbidden), `SAGEMAKER_BASE_DIR` names the directory
that stands for `/opt/ml`; nothing is read-only then, and no network is cut off. Servers get their
port in `SAGEMAKER_BIND_TO_PORT`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from container import contract
from container.errors import PlatformError, UserError
from local_test.runners import entry_points, launcher, procfs
from local_test.runners.interface import Launch
from local_test.runners.loopback import Guard

_MEMORY_INTERVAL_S = 0.05
# The platform cannot reach a server that is bound to 127.0.0.1; on Linux, 127.0.0.2 reveals that.
_SERVER_HOST = "127.0.0.2" if sys.platform == "linux" else "127.0.0.1"


class ProcessRunner:
    """Runs `command` with the platform's arguments, as an image's entry point is run."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        directory: Path | None = None,
        is_private: bool | None = None,
        memory_bytes: int | None = None,
        hidden: Sequence[Path] = (),
    ) -> None:
        """Take the command to run.

        `directory` is its working directory. `is_private` requires or forbids namespaces; None uses
        them if possible, and then programs do not see the directories `hidden`. A container whose
        processes together exceed `memory_bytes` is killed soon after (Linux).

        Raises: PlatformError for a memory limit where there is no /proc.
        """
        launcher.check_memory(memory_bytes)
        self._memory_bytes = memory_bytes
        self._command = tuple(command)
        self._hidden = [str(path.resolve()) for path in hidden]
        self._directory = directory or Path.cwd()
        self.is_private = launcher.has_namespaces() if is_private is None else is_private
        self._switches = launcher.Switches()

    @property
    def description(self) -> str:
        """What runs and how, for logs."""
        view = "a private /opt/ml"
        if not self.is_private:
            view = f"{contract.BASE_DIR_VARIABLE} for /opt/ml"
        return f"process {' '.join(self._command)!r} with {view}"

    def network_interface(self, *, has_peers: bool, is_isolated: bool) -> str:
        """Return the interface of the hosts' own network, or else this machine's loopback."""
        if has_peers and is_isolated and self.is_private and launcher.has_networks():
            return "eth0"
        return "lo" if sys.platform == "linux" else "lo0"

    def mount_point(self, root: Path) -> str:
        """Return the path at which the program sees its job directory."""
        return "/opt/ml" if self.is_private else str(root)

    def start(self, launch: Launch, on_output: Callable[[bytes], None]) -> ProcessContainer:
        """Start the program; see `interface.Runner.start`."""
        if not self.is_private:
            launcher.check_openness(launch)
        memory_bytes = launch.memory_bytes or self._memory_bytes
        launcher.check_memory(memory_bytes)
        command = [*(launch.entrypoint or self._command), *launch.arguments]
        environment = launcher.make_environment(launch)
        entry_points.check_program(command, environment["PATH"], self._directory)
        address = ("127.0.0.1", 0)
        if launch.is_server:
            address = (_SERVER_HOST, find_free_port())
            environment[contract.BIND_TO_PORT_VARIABLE] = str(address[1])
        with contextlib.ExitStack() as resources:
            # This object removes its directory also when an interrupt comes before the callback.
            kept = tempfile.TemporaryDirectory(prefix="local-test-", ignore_cleanup_errors=True)
            resources.callback(kept.cleanup)
            scratch = Path(kept.name)
            environment["HOME"] = launcher.choose_home(launch, kept.name)
            guard: Guard | None = None
            view: dict[str, Any] = {}
            if self.is_private:
                view = self._describe_view(launch, scratch, resources)
            else:
                environment[contract.BASE_DIR_VARIABLE] = str(launch.root)
            files: tuple[int, ...] = view.get("switch", {}).get("files", ())
            launcher.report_gaps(launch, on_output, is_private=self.is_private)
            if sys.platform == "linux":
                if launch.is_server:
                    guard = resources.enter_context(contextlib.closing(Guard()))
                    files = (*files, guard.file)
                    view["guard"] = guard.file
                command = launcher.wrap(view, command)
            program = _Program(
                command=command,
                environment=environment,
                directory=self._directory,
                files=files,
                guard=guard,
                resources=resources.pop_all(),
                launchers=2 if self.is_private else 0,
                memory_bytes=memory_bytes,
            )
        return ProcessContainer(program, address, on_output)

    def _describe_view(
        self, launch: Launch, scratch: Path, resources: contextlib.ExitStack
    ) -> dict[str, Any]:
        """Return the specification for `namespace.py`."""
        has_switch = bool(launch.network) and launch.is_isolated and launcher.has_networks()
        network = "10.0.0" if has_switch else "127.0.0"
        addresses = {name: f"{network}.{number}" for number, name in enumerate(launch.peers, 1)}
        view: dict[str, Any] = {
            "root": str(launch.root),
            "read_only": launch.read_only,
            "hosts_file": launcher.write_hosts(scratch / "hosts", addresses, launch),
            "is_isolated": launch.is_isolated
            and not launch.is_server
            and (has_switch or not launch.network),
            "hidden": self._hidden,
            "hides_sockets": launch.is_isolated,
            "is_root_read_only": launch.is_root_read_only,
            "has_shared_memory": launch.has_shared_memory,
        }
        memory_bytes = launch.memory_bytes or self._memory_bytes
        if memory_bytes is not None:
            view["cgroup"] = str(launcher.write_cgroup(scratch / "cgroup", memory_bytes))
        if has_switch:
            files = resources.enter_context(self._switches.share(launch.network))
            view["switch"] = {"files": files, "address": addresses[launch.name]}
        return view


def find_free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", 0))  # noqa: S104 - the server will listen on every address, too
        return int(listener.getsockname()[1])


@dataclass(frozen=True)
class _Program:
    command: Sequence[str]
    environment: Mapping[str, str]
    directory: Path
    files: tuple[int, ...]
    """Open files that the launcher needs."""
    guard: Guard | None
    """What keeps a server's ports from other machines."""
    resources: contextlib.ExitStack
    """What the container uses on this machine until it ends."""
    launchers: int
    """How many processes come before the program itself."""
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
        # The thread that starts the process outlives it: the kernel ties a launcher to its thread.
        threading.Thread(target=self._run, args=(program, on_output), daemon=True).start()
        try:
            self._started.wait()
        except KeyboardInterrupt:  # the caller gets no container, so nobody else removes it
            self._started.wait()
            if self._error is None:
                self.remove()
            raise
        if self._error is not None:
            program.resources.close()
            raise UserError(
                f"{program.command[0]} cannot be started in {program.directory}: {self._error}"
            ) from self._error

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
        if program.guard is not None:
            program.guard.start(on_output)
        watcher = threading.Thread(target=self._watch, daemon=True)
        watcher.start()
        if program.memory_bytes is not None:
            limiting = (program.memory_bytes,)
            threading.Thread(target=self._limit_memory, args=limiting, daemon=True).start()
        self._started.set()
        output = self._process.stdout
        assert output is not None  # noqa: S101 - it is a pipe
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
        self._kill_group()  # a process that outlives the first one would hold its output open

    def _limit_memory(self, limit_bytes: int) -> None:
        """Kill as the kernel does; a limit of address space would count what is only reserved."""
        while not self._ended.wait(_MEMORY_INTERVAL_S):
            pids = self.processes()
            # The quick count first: it counts shared pages several times.
            if sum(map(procfs.count_resident_bytes, pids)) <= limit_bytes:
                continue
            used_bytes = sum(map(procfs.count_own_bytes, pids))
            if used_bytes > limit_bytes:
                self.note = (
                    f"out of memory: its processes took {used_bytes / 2**20:.0f} MB, "
                    f"more than its limit of {limit_bytes / 2**20:.0f} MB"
                )
                self.kill()
                return

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait for the end of program and output; see `interface.Container.wait`."""
        if not self._ended.wait(timeout_s):
            return None
        if self._fault is not None:
            raise self._fault
        return self._code

    def send_signal(self, number: int) -> None:
        """Send a signal to the first process."""
        if self._process.poll() is None:
            self._process.send_signal(number)

    def processes(self) -> list[int]:
        """Return the IDs of the program's processes, its first one at the head."""
        return procfs.list_descendants(self._process.pid)[self._launchers :]

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
