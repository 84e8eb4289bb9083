"""A script that makes a private view of the machine and runs a program in it. Linux only.

The program gets a mount namespace in which the job directory is `/opt/ml`, a process namespace that
ends with its first process, and, if it is isolated, a network without a way out. Without root, all
this happens in a user namespace in which the program is root, as on the platform (IMG-6). An
isolated program finds no socket of the machine, such as a container engine's, and cannot undo that:
a user namespace of its own locks its mounts.

    python -I -S namespace.py '{"harness": PID, "root": ..., "read_only": [...], "hosts_file": ...,
        "cgroup": DIRECTORY, "is_isolated": ..., "hidden": [...], "hides_sockets": ...,
        "is_root_read_only": ..., "has_shared_memory": ..., "guard": FILE}' PROGRAM ARG...

There are three processes: this one waits and forwards signals; its child is process 1 of the
namespace and reaps, as the platform's init does (IMG-5); the grandchild is the program.

With {"is_switch": true} and no program, the script makes a switch: a network namespace with nothing
but a bridge. The switch lasts until its standard input ends, or longer if another process has
opened the files of its namespaces. "switch": {"files": [...], "address": ...} connects an isolated
program to it by an interface eth0, so that the hosts of a job reach each other and nothing else.

The script uses only the standard library and the folder `view`, so it starts in 20 ms.
Nothing outside the namespace changes, so nothing has to be undone: the kernel removes a namespace
and its interfaces with the last process in it, or the last open file of it. Exit code 120 means
that the view could not be made.
"""

import contextlib
import fcntl
import json
import os
import signal
import socket
import struct
import sys
from typing import Any

if __name__ == "__main__":  # a script: the package is not on its path, and costs nothing to import
    sys.path.append(__file__.removesuffix("/local_test/runners/namespace.py"))

from local_test.runners.view import kernel, listen_filter, mounts

CANNOT = 120
_IFNAME, _MASTER, _LINKINFO, _NET_NS_FD = 3, 10, 18, 28
_KIND, _INFO_DATA, _VETH_INFO_PEER = 1, 2, 1
_HEADER = struct.Struct("=BxHiII")
"""ifinfomsg: family, type, index, flags, and a mask of the flags to change."""
_BRIDGE, _INTERFACE = "bridge", "eth0"
_FORWARDED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)


def main(specification: dict[str, Any], argv: list[str]) -> int:
    """Run `argv` in a view; return its exit code, 128 + n after signal n."""
    harness = specification.pop("harness")
    guard = specification.pop("guard", None)
    if not specification:  # no view: the program only must not outlive the harness
        _die_with_parent(harness)
        return _replace(argv, guard)
    try:
        if specification.get("is_switch"):
            return _keep_switch()
        _make_view(specification)
    except OSError as error:
        print(f"cannot make a private /opt/ml or network on this machine: {error}", file=sys.stderr)
        return CANNOT
    _die_with_parent(harness)
    # Signals are blocked and waited for: process 1 would lose those it has no handler for, and
    # Python those that come just before it waits.
    signal.pthread_sigmask(signal.SIG_BLOCK, (*_FORWARDED, signal.SIGCHLD))
    child = os.fork()
    if child == 0:
        os._exit(_be_init(argv, guard, is_locked=bool(specification.get("hides_sockets"))))
    return _wait_for(child)


def _make_view(specification: dict[str, Any]) -> None:
    sockets = mounts.list_sockets()
    flags = kernel.NEWNS | kernel.NEWPID
    if specification.get("is_isolated"):
        flags |= kernel.NEWNET
    if specification.get("switch"):
        _plug_in(**specification["switch"], flags=flags)
    else:
        kernel.unshare(flags)
    kernel.mount(None, "/", kernel.REC | kernel.PRIVATE)
    mounts.mount_root(specification["root"])
    for name in specification.get("read_only", ()):
        mounts.bind_read_only(f"/opt/ml/{name}")
    if specification.get("hosts_file"):
        kernel.mount(specification["hosts_file"], "/etc/hosts", kernel.BIND)
    if specification.get("cgroup") and os.path.isdir("/sys/fs/cgroup"):  # noqa: PTH112 - no pathlib
        kernel.mount(specification["cgroup"], "/sys/fs/cgroup", kernel.BIND)
    _restrict(specification, sockets)
    if specification.get("is_isolated"):
        _set_up("lo")


def _restrict(specification: dict[str, Any], sockets: list[str]) -> None:
    for path in specification.get("hidden", ()):
        mounts.hide(path)
    if specification.get("hides_sockets"):
        mounts.hide_sockets(sockets)
    if specification.get("is_root_read_only"):
        mounts.make_root_read_only("/tmp", "/dev/shm")  # noqa: S108 - these stay writable
    if not specification.get("has_shared_memory", True):
        mounts.forbid_writing("/dev/shm")  # noqa: S108 - the place of the machine's shared memory


def _be_init(argv: list[str], guard: int | None, *, is_locked: bool) -> int:
    _die_with_parent()
    with contextlib.suppress(OSError):  # a masked /proc shows the outer processes: harmless
        kernel.mount("proc", "/proc", 0, kind="proc")
    program = os.fork()
    if program == 0:
        os.setsid()
        kernel.die_with_parent(0)
        if is_locked:
            with contextlib.suppress(OSError):  # the machine may forbid another user namespace
                kernel.enter_user_namespace(kernel.NEWNS)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os._exit(_replace(argv, guard))
    return _wait_for(program)


def _replace(argv: list[str], guard: int | None) -> int:
    """Become the program; return the exit code of a shell if that fails."""
    if guard is not None:
        listen_filter.install(guard)
    try:
        os.execv(_find_program(argv[0]), argv)  # noqa: S606 - without a shell
    except OSError as error:
        print(f"exec {argv[0]} failed: {error.strerror}", file=sys.stderr)
        return 127 if isinstance(error, FileNotFoundError) else 126


def _find_program(name: str) -> str:
    """Return the first executable file of a name on PATH, as engines do.

    `os.execvp` would go on with the next one if the first cannot be executed.
    """
    for directory in os.get_exec_path() if "/" not in name else ():
        path = f"{directory}/{name}"
        if os.path.isfile(path) and os.access(path, os.X_OK):  # noqa: PTH113 - no pathlib here
            return path
    return name


def _wait_for(child: int) -> int:
    """Forward signals and reap until the child has ended; return its exit code."""
    while True:
        number = signal.sigwait((*_FORWARDED, signal.SIGCHLD))
        if number != signal.SIGCHLD:
            os.kill(child, number)
            continue
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == child:
                code = os.waitstatus_to_exitcode(ended[1])
                return 128 - code if code < 0 else code


def _die_with_parent(parent: int | None = None) -> None:
    kernel.die_with_parent(signal.SIGKILL)
    if parent not in (None, os.getppid()):  # it died before the call, so no signal will come
        os._exit(CANNOT)


def _keep_switch() -> int:
    kernel.unshare(kernel.NEWNET)
    with _open_netlink() as control:
        _add_link(control, _name(_BRIDGE) + _attribute(_LINKINFO, _attribute(_KIND, b"bridge")))
    print("ready", flush=True)
    sys.stdin.read()
    return 0


def _plug_in(files: list[int], address: str, flags: int) -> None:
    """Unshare with a network whose `eth0` is connected to a switch, given by its `files`."""
    for file in files:
        os.set_inheritable(file, False)  # noqa: FBT003 - a positional-only parameter
        kernel.enter(file)
    with _open_netlink() as control:  # stays in the switch's network
        bridge = struct.pack("=i", socket.if_nametoindex(_BRIDGE))
        kernel.unshare(flags)
        here = os.open("/proc/self/ns/net", os.O_RDONLY)
        peer = (
            _HEADER.pack(0, 0, 0, 0, 0)
            + _name(_INTERFACE)
            + _attribute(_NET_NS_FD, struct.pack("=i", here))
        )
        data = _attribute(_KIND, b"veth") + _attribute(
            _INFO_DATA, _attribute(_VETH_INFO_PEER, peer)
        )
        _add_link(control, _attribute(_MASTER, bridge) + _attribute(_LINKINFO, data))
        os.close(here)
    with socket.socket() as control:
        request = struct.pack(
            "16sHH4s8x8x", _INTERFACE.encode(), socket.AF_INET, 0, socket.inet_aton(address)
        )
        fcntl.ioctl(control, 0x8916, request)  # SIOCSIFADDR
    _set_up(_INTERFACE)


def _open_netlink() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)  # NETLINK_ROUTE


def _add_link(control: socket.socket, attributes: bytes) -> None:
    """Create an interface that is up."""
    body = _HEADER.pack(0, 0, 0, 1, 1) + attributes  # IFF_UP
    header = struct.pack("=IHHII", 16 + len(body), 16, 0x605, 1, 0)  # RTM_NEWLINK
    control.send(header + body)
    (number,) = struct.unpack_from("=i", control.recv(4096), 16)
    if number:
        raise OSError(-number, f"new interface: {os.strerror(-number)}")


def _name(text: str) -> bytes:
    return _attribute(_IFNAME, text.encode() + b"\0")


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _set_up(interface: str) -> None:
    with socket.socket() as control:
        request = struct.pack("16sh", interface.encode(), 1)  # IFF_UP
        fcntl.ioctl(control, 0x8914, request.ljust(40, b"\0"))  # SIOCSIFFLAGS


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1]), sys.argv[2:]))
