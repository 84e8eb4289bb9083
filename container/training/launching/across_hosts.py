"""Runs a launcher's commands on all hosts of a job, without sshd and without keys. A script.

    python -I across_hosts.py follow LEADER PORT HOST DIRECTORY
    python -I across_hosts.py mpirun PORT HOST,HOST... DIRECTORY COMMAND...
    python -I across_hosts.py ray PORT HOST,HOST... DIRECTORY COMMAND...
    python -I across_hosts.py agent SOCKET PREFIX HOST COMMAND...

The first host leads. The others connect to it, and run the shell commands that it sends until it
sends an exit code. So no host but the first one opens a port, and the first one only answers
connections that come from the address of the host that they name. The commands are Open MPI's
daemons, whose `mpirun` calls `agent` in place of `ssh`, or Ray's.

A message is a line of JSON. A follower sends `{"host": ...}` and, when a command ended,
`{"ended": code}`; the leader sends `{"run": command, "directory": its own}` and `{"exit": code}`.
`DIRECTORY` is the job's scratch directory of a host; it stands for the leader's in commands.

Rules of this file: standard library only, and nothing of `container`: it runs isolated, so that no
file of the user's hides a module.
"""

import contextlib
import json
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent import futures
from pathlib import Path
from typing import Any, Final

RAY_MARK: Final = "BYO_RAY_DRIVER"
_GATHERING_S: Final = 900.0  # as long as host names may take (DS-4)
_END_S: Final = 10.0
_LOST: Final = 255  # what ssh returns when it loses a connection
_RAY: Final = "ray.scripts.scripts"
_RAY_OPTIONS: Final = '--num-cpus="$SM_NUM_CPUS" --num-gpus="$SM_NUM_GPUS" --disable-usage-stats'


class Connection:
    """A connection that carries messages."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._file = connected.makefile("r", encoding="utf-8")

    def send(self, **message: Any) -> None:
        """Send a message; one to a peer that is gone is lost."""
        with contextlib.suppress(OSError):
            self._socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> dict[str, Any]:
        """Return the next message; an empty one if the peer is gone or sends anything else."""
        with contextlib.suppress(OSError, ValueError, RecursionError):
            message = json.loads(self._file.readline())
            if isinstance(message, dict):
                return message
        return {}

    def close(self) -> None:
        """Close the connection, also for a thread that is receiving."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class Leader:
    """Owns the connections to the other hosts."""

    def __init__(self, port: int, hosts: Sequence[str], directory: str) -> None:
        """Wait until every host but the first one of `hosts` is connected.

        Raises: TimeoutError, OSError.
        """
        self.hosts = tuple(hosts)
        self.lost = threading.Event()
        """A host is gone before the end."""
        self._directory = directory
        self._ending = False
        self._followers: dict[str, Connection] = {}
        self._ended: dict[str, list[int]] = {host: [] for host in hosts}
        self._changed = threading.Condition()
        if len(hosts) > 1:
            self._gather(port)

    def _gather(self, port: int) -> None:
        deadline = time.monotonic() + _GATHERING_S
        with socket.create_server(("", port), backlog=len(self.hosts)) as server:
            while missing := sorted(set(self.hosts[1:]) - set(self._followers)):
                server.settimeout(max(0.001, deadline - time.monotonic()))
                try:
                    connected, address = server.accept()
                except TimeoutError as error:
                    message = f"{', '.join(missing)} did not connect in {_GATHERING_S:g} s"
                    raise TimeoutError(message) from error
                connected.settimeout(5.0)
                connection = Connection(connected)
                host = connection.receive().get("host")
                if host not in missing or address[0] not in _resolve(host):
                    print(f"refused {address[0]}, which calls itself {host!r}", file=sys.stderr)
                    connection.close()
                    continue
                connected.settimeout(None)
                self._followers[host] = connection
                threading.Thread(target=self._watch, args=(host,), daemon=True).start()

    def _watch(self, host: str) -> None:
        connection = self._followers[host]
        while message := connection.receive():
            with self._changed:
                self._ended[host].append(int(message.get("ended", _LOST)))
                self._changed.notify_all()
        with self._changed:
            self._ended[host].append(_LOST)
            self._changed.notify_all()
        if not self._ending:
            print(f"the connection to {host} is lost: it ended before the others", file=sys.stderr)
            self.lost.set()

    def run(self, host: str, command: str) -> int:
        """Run a shell command on another host to its end; return its exit code."""
        if host not in self._followers:
            print(f"{host} is not a host of this job", file=sys.stderr)
            return _LOST
        self._followers[host].send(run=command, directory=self._directory)
        with self._changed:
            self._changed.wait_for(lambda: self._ended[host])
            return self._ended[host].pop(0)

    def end(self, code: int) -> None:
        """End all followers with the exit code of the program."""
        self._ending = True
        for connection in self._followers.values():
            connection.send(exit=code)

    def supervise(self, command: Sequence[str], **variables: str) -> int:
        """Run the program or its launcher here; end it when a host is lost."""
        environ = {**os.environ, **variables}
        process = subprocess.Popen(list(command), env=environ)  # noqa: S603 - the user's program
        threading.Thread(target=self._end_with_a_host, args=(process,), daemon=True).start()
        code = process.wait()
        if code < 0:
            return 128 - code
        return code or int(self.lost.is_set())

    def _end_with_a_host(self, process: subprocess.Popen[bytes]) -> None:
        self.lost.wait()
        process.terminate()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()


def lead_mpirun(leader: Leader, command: Sequence[str]) -> int:
    """Run `mpirun`, which starts its daemons through `agent`; return its exit code."""
    with (
        tempfile.TemporaryDirectory(prefix="mpirun-") as scratch,  # a socket's path is short
        socket.socket(socket.AF_UNIX) as server,
    ):
        path = str(Path(scratch, "agents"))
        server.bind(path)
        server.listen(len(leader.hosts))
        threading.Thread(target=_serve_agents, args=(leader, server), daemon=True).start()
        # `mpirun` splits the agent's command at spaces, which the paths in it may have.
        agent = Path(scratch, "agent")
        prefix = str(Path(command[0]).resolve().parents[1])
        words = shlex.join([sys.executable, "-I", __file__, "agent", path, prefix])
        agent.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        agent.chmod(0o700)
        # The same parameter of Open MPI 4, 5 and 6.
        names = ["OMPI_MCA_plm_rsh_agent", "OMPI_MCA_plm_ssh_agent"]
        names += ["PRTE_MCA_plm_rsh_agent", "PRTE_MCA_plm_ssh_agent"]
        return leader.supervise(command, **dict.fromkeys(names, str(agent)))


def _serve_agents(leader: Leader, server: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the end of `lead_mpirun`
        while True:
            connection = Connection(server.accept()[0])
            threading.Thread(target=_serve_agent, args=(leader, connection), daemon=True).start()


def _serve_agent(leader: Leader, connection: Connection) -> None:
    asked = connection.receive()
    if asked:
        connection.send(ended=leader.run(asked["host"], asked["run"]))
    connection.close()


def be_agent(path: str, prefix: str, host: str, command: Sequence[str]) -> int:
    """Ask the leader to run a command on a host, as `ssh` would; return its exit code.

    The command is for a shell, yet Open MPI does not quote `prefix`, its own directory, in it.
    """
    run = " ".join(command).replace(prefix, shlex.quote(prefix))
    # `mpirun` ends its agents by signals; a stop of the job is meant for the programs.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as connected:
        connected.connect(path)
        connection = Connection(connected)
        connection.send(host=host, run=run)
        return int(connection.receive().get("ended", _LOST))


def lead_ray(leader: Leader, command: Sequence[str]) -> int:
    """Start a Ray cluster and run the program on it; return the program's exit code.

    The first word of `command` is the Python that has Ray.
    """
    # Ray names its cluster in a file of its directory, where every later `ray.init` looks. The
    # default is /tmp/ray, which hosts that are processes share with all programs of the machine.
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as scratch:
        # Without a token everyone who reaches the cluster may run code on it; old versions of Ray
        # ignore it.
        token = secrets.token_hex(32)
        settings = {"RAY_TMPDIR": scratch, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
        address = _start_ray(leader, command[0], settings)
        if not address:
            return 1
        settings |= {"RAY_ADDRESS": address, RAY_MARK: "1"}
        return leader.supervise(command[1:], **settings)


def _start_ray(leader: Leader, python: str, settings: Mapping[str, str]) -> str:
    """Start Ray on all hosts; return the cluster's address, or an empty string if that failed."""
    address = "127.0.0.1"
    if len(leader.hosts) > 1:
        address = socket.gethostbyname(leader.hosts[0])
    with socket.create_server((address, 0)) as probe:
        port = probe.getsockname()[1]
    names = " ".join(f"{name}={shlex.quote(value)}" for name, value in settings.items())
    start = f"{names} {shlex.quote(python)} -m {_RAY} start {_RAY_OPTIONS} --node-ip-address="
    head = f"{start}{address} --head --port={port} --include-dashboard=false"
    if subprocess.call(["/bin/sh", "-c", head]):  # noqa: S603 - our own command
        print("Ray could not be started on the first host", file=sys.stderr)
        return ""
    followers = leader.hosts[1:]
    joins = [
        f"{start}{socket.gethostbyname(host)} --address={address}:{port}" for host in followers
    ]
    with futures.ThreadPoolExecutor(max_workers=len(leader.hosts)) as pool:
        codes = list(pool.map(leader.run, followers, joins))
    failed = [host for host, code in zip(followers, codes, strict=True) if code]
    if failed:
        print(f"Ray could not be started on {', '.join(failed)}", file=sys.stderr)
        return ""
    return f"{address}:{port}"


def follow(leader: str, port: int, host: str, directory: str) -> int:
    """Run the leader's commands until it ends; return the program's exit code."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the leader ends the job, or is gone
    connection = Connection(_connect(leader, port, host))
    connection.send(host=host)
    while message := connection.receive():
        if "exit" in message:
            code = int(message["exit"])
            if code:
                print(f"the job failed on {leader}, whose log has the cause", file=sys.stderr)
            return code
        command = message["run"].replace(message["directory"], directory)
        threading.Thread(target=_run, args=(connection, command), daemon=True).start()
    print(f"the connection to {leader}, which leads this job, is lost", file=sys.stderr)
    return _LOST


def _run(connection: Connection, command: str) -> None:
    # A session of its own keeps stop signals of the job from the launchers' daemons.
    shell = ["/bin/sh", "-c", command]
    code = subprocess.call(shell, start_new_session=True)  # noqa: S603 - of this job's first host
    connection.send(ended=128 - code if code < 0 else code)


def _connect(host: str, port: int, own_name: str) -> socket.socket:
    """Connect to a host, from the address of this one's name; wait until that is possible."""
    deadline = time.monotonic() + _GATHERING_S
    wait_s = 0.05
    while True:
        try:
            source = (next(_resolve(own_name), ""), 0)
            connected = socket.create_connection((host, port), 10.0, source)
        except OSError as error:
            if time.monotonic() + wait_s > deadline:
                raise TimeoutError(f"{host}:{port} cannot be reached: {error}") from error
            time.sleep(wait_s)
            wait_s = min(2 * wait_s, 1.0)
        else:
            connected.settimeout(None)
            return connected


def _resolve(host: str) -> Iterator[str]:
    with contextlib.suppress(OSError):
        yield from {str(found[4][0]) for found in socket.getaddrinfo(host, None)}


def main(argv: Sequence[str]) -> int:
    """Run the command that the module's docstring describes."""
    role, *rest = argv
    if role == "agent":
        path, prefix, host = rest[:3]
        return be_agent(path, prefix, host, rest[3:])
    if role == "follow":
        leader, port, host, directory = rest
        return follow(leader, int(port), host, directory)
    port, hosts, directory = rest[:3]
    leading = Leader(int(port), hosts.split(","), directory)
    lead = {"mpirun": lead_mpirun, "ray": lead_ray}[role]
    code = lead(leading, rest[3:])
    leading.end(code)
    return code


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except TimeoutError as error:
        sys.exit(f"the hosts of the job cannot meet: {error}")
