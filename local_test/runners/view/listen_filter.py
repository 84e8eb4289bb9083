"""A filter that asks the harness before a program listens. Linux 5.9 or newer, x86-64 and arm64.

A server binds 0.0.0.0, as the platform requires, and shares this machine's network. So that other
machines cannot connect to it, the harness binds each socket to the loopback device before the
program listens on it. A seccomp filter reports every `listen` to it.
"""

import ctypes
import os
import socket
import struct
from typing import Final

from local_test.runners.view import kernel

CALLS: Final = {  # the ABI's mark, and the numbers of `listen` and `seccomp`
    "x86_64": (0xC000003E, 50, 317),
    "aarch64": (0xC00000B7, 201, 277),
}
_SET_MODE_FILTER, _NEW_LISTENER, _NO_NEW_PRIVILEGES = 1, 8, 38
_LOAD, _IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ASK, _ALLOW = 0x7FC00000, 0x7FFF0000


def install(sender: int) -> None:
    """Filter this process's calls from now on, and send the filter's descriptor to the harness.

    Without a filter, a message without a descriptor is sent.
    """
    with socket.socket(fileno=sender) as harness:
        try:
            held = _install()
        except OSError:
            harness.send(b"-")
            return
        socket.send_fds(harness, [b"+"], [held])
        os.close(held)


def _install() -> int:
    """Return the descriptor at which the kernel reports calls.

    Raises: OSError if this machine has no such filters.
    """
    machine = os.uname().machine
    if machine not in CALLS:
        raise OSError
    mark, listen, seccomp = CALLS[machine]
    steps = (
        (_LOAD, 0, 0, 4),  # the ABI
        (_IF_EQUAL, 0, 3, mark),
        (_LOAD, 0, 0, 0),  # the call
        (_IF_EQUAL, 0, 1, listen),
        (_RETURN, 0, 0, _ASK),
        (_RETURN, 0, 0, _ALLOW),
    )
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(steps), ctypes.addressof(code)))
    arguments = (seccomp, _SET_MODE_FILTER, _NEW_LISTENER, program)
    held = kernel.libc.syscall(*arguments)
    if held < 0:  # without privileges, only a program that can gain none may filter itself
        kernel.check(kernel.libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0), "prctl")
        held = kernel.libc.syscall(*arguments)
    if held < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    return int(held)
