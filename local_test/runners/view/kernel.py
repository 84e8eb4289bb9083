"""System calls that Python has no function for: unshare, mount, setns, prctl. Linux only."""

import ctypes
import os

NEWNS, NEWUSER, NEWPID, NEWNET = 0x00020000, 0x10000000, 0x20000000, 0x40000000
"""Kinds of namespaces."""
RDONLY, REMOUNT, BIND, REC, PRIVATE = 1, 32, 4096, 16384, 1 << 18
"""Flags of a mount."""
_PR_SET_PDEATHSIG = 1
_MOUNT_SETATTR = 442  # the same number on every processor
_AT_FDCWD, _AT_RECURSIVE, _ATTR_RDONLY = -100, 0x8000, 1
libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """Enter new namespaces; without root, also a user namespace in which this user is root."""
    if os.getuid() == 0:
        check(libc.unshare(flags), "unshare")
    else:
        enter_user_namespace(flags)


def enter_user_namespace(flags: int) -> None:
    """Enter new namespaces and a user namespace in which this user is root, and nobody else is."""
    uid, gid = os.getuid(), os.getgid()
    check(libc.unshare(flags | NEWUSER), "unshare")
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        path = f"/proc/self/{name}"
        with open(path, "w", encoding="ascii") as file:  # noqa: PTH123 - pathlib is slow to import
            file.write(text)


def mount(source: str | None, target: str, flags: int, kind: str | None = None) -> None:
    """Mount a file system, or change a mount. Raises: OSError."""
    arguments = [os.fsencode(text) if text else None for text in (source, target, kind)]
    check(libc.mount(*arguments, ctypes.c_ulong(flags), None), f"mount {target}")


def set_read_only(path: str, *, is_read_only: bool = True, is_recursive: bool = False) -> None:
    """Change whether a mount, and with `is_recursive` all mounts below it, can be written to.

    Raises: OSError, with ENOSYS before Linux 5.12.
    """
    settings = (ctypes.c_uint64 * 4)(_ATTR_RDONLY, 0)
    if not is_read_only:
        settings = (ctypes.c_uint64 * 4)(0, _ATTR_RDONLY)
    result = libc.syscall(
        _MOUNT_SETATTR,
        _AT_FDCWD,
        os.fsencode(path),
        _AT_RECURSIVE if is_recursive else 0,
        ctypes.byref(settings),
        ctypes.sizeof(settings),
    )
    check(result, f"mount_setattr {path}")


def enter(file: int) -> None:
    """Enter the namespace of an open file. Raises: OSError."""
    check(libc.setns(file, 0), "setns")


def die_with_parent(number: int) -> None:
    """Ask for a signal at the end of the parent; 0 asks for none."""
    libc.prctl(_PR_SET_PDEATHSIG, number)


def check(result: int, what: str) -> None:
    """Raise the error of a system call that failed."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
