"""The files that a private view shows: /opt/ml, and none of the machine's sockets. Linux only."""

import contextlib
import os
import stat

from local_test.runners.view import kernel


def mount_root(root: str) -> None:
    """Mount `root` at `/opt/ml`; if that does not exist, build an `/opt` that has it."""
    held = os.open(root, os.O_PATH)  # the directory itself may be below /opt
    if not os.path.isdir("/opt/ml"):  # noqa: PTH112 - no pathlib here
        _rebuild_opt()
    kernel.mount(f"/proc/self/fd/{held}", "/opt/ml", kernel.BIND | kernel.REC)
    os.close(held)


def _rebuild_opt() -> None:
    # By descriptor: a directory to mount it at would outlive a launcher that is killed.
    held = os.open("/opt", os.O_PATH)
    kernel.mount("tmpfs", "/opt", 0, kind="tmpfs")
    with os.scandir(f"/proc/self/fd/{held}") as entries:
        for entry in entries:
            target = f"/opt/{entry.name}"
            if entry.is_symlink():
                source = os.readlink(entry.path)  # noqa: PTH115 - no pathlib here
                os.symlink(source, target)  # noqa: PTH211 - no pathlib here
            elif entry.is_dir():
                os.mkdir(target)  # noqa: PTH102 - no pathlib here
                kernel.mount(entry.path, target, kernel.BIND | kernel.REC)
            else:
                os.close(os.open(target, os.O_CREAT | os.O_WRONLY))
                kernel.mount(entry.path, target, kernel.BIND)
    os.mkdir("/opt/ml")  # noqa: PTH102 - no pathlib here
    os.close(held)


def bind_read_only(path: str) -> None:
    """Make a directory read-only where it is."""
    kernel.mount(path, path, kernel.BIND | kernel.REC)
    # The outer mount's nosuid, nodev and noexec are locked and have to stay.
    flags = os.statvfs(path).f_flag & 0x0F
    kernel.mount(None, path, kernel.REMOUNT | kernel.BIND | kernel.RDONLY | flags)


def make_root_read_only(*writable: str) -> None:
    """Make every mount read-only but some directories; what is mounted below those stays so."""
    kept = [path for path in writable if os.path.isdir(path)]  # noqa: PTH112 - no pathlib here
    for path in kept:
        kernel.mount(path, path, kernel.BIND | kernel.REC)
    kernel.set_read_only("/", is_recursive=True)
    for path in kept:
        kernel.set_read_only(path, is_read_only=False)
    place = os.getcwd()  # noqa: PTH109 - no pathlib here
    if place not in kept:  # a program below /tmp is not to write beside itself either
        bind_read_only(place)
        os.chdir(place)


def forbid_writing(path: str) -> None:
    """Cover a directory by an empty one in which nothing can be created."""
    if os.path.isdir(path):  # noqa: PTH112 - no pathlib here
        kernel.mount("tmpfs", path, kernel.RDONLY, kind="tmpfs")


def list_sockets() -> list[str]:
    """Return the paths of all sockets that processes of this network namespace have bound."""
    with open("/proc/net/unix", "rb") as file:  # noqa: PTH123 - no pathlib here
        lines = file.read().splitlines()
    return ["/" + os.fsdecode(line.split(b" /", 1)[1]) for line in lines if b" /" in line]


def hide_sockets(sockets: list[str]) -> None:
    """Hide where systems keep sockets, also those to come, and every other one in `sockets`."""
    for path in ("/run", "/var/run"):
        hide(path)
    for path in sockets:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            if stat.S_ISSOCK(os.lstat(path).st_mode):
                kernel.mount("/dev/null", path, kernel.BIND)


def hide(path: str) -> None:
    """Cover a directory by an empty one with the same links, through which programs are found."""
    if os.path.islink(path) or not os.path.isdir(path):  # noqa: PTH112, PTH114 - no pathlib here
        return
    with os.scandir(path) as entries:
        links = [entry.path for entry in entries if entry.is_symlink()]
    targets = [os.readlink(link) for link in links]  # noqa: PTH115 - no pathlib here
    kernel.mount("tmpfs", path, 0, kind="tmpfs")
    for link, target in zip(links, targets, strict=True):
        os.symlink(target, link)  # noqa: PTH211 - no pathlib here
