"""The listening sockets of a worker: when it accepts, and what it does without descriptors.

Rules of this file: a connection that cannot be accepted is never a reason to spin or to stop.
"""

import errno
import logging
import os
import select
import socket
from collections.abc import Iterable
from typing import Final

from container.serving.event_worker.connection import READING, Connections
from container.serving.loads import Loads

log = logging.getLogger(__name__)

_BACK_OFF_S: Final = 0.25
_REPORT_S: Final = 30.0
# The process or the system is out of descriptors or memory; every other error is the client's.
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Listeners:
    """The sockets on which clients come, on the epoll set while this worker accepts."""

    def __init__(
        self,
        sockets: Iterable[socket.socket],
        epoll: select.epoll,
        connections: Connections,
        loads: Loads,
    ) -> None:
        self._by_descriptor = {listener.fileno(): listener for listener in sockets}
        for listener in self._by_descriptor.values():
            listener.settimeout(0)
        self._epoll = epoll
        self._connections = connections
        self._loads = loads
        self._is_accepting = False
        # Reserve a descriptor, so that a ping is answered when all others are in use.
        self._reserve = _reserve()
        self._closed_until = 0.0
        self._reported = -_REPORT_S

    def __contains__(self, descriptor: int) -> bool:
        """Return whether a descriptor is one of the listeners'."""
        return descriptor in self._by_descriptor

    def balance(self, load: int) -> None:
        """Accept only while no other worker has less than `load`, and there is room."""
        now = self._connections.now
        is_least = self._loads.is_least(load, now)
        if is_least and now >= self._closed_until and self._connections.make_room():
            if not self._is_accepting:
                for descriptor in self._by_descriptor:
                    self._epoll.register(descriptor, select.EPOLLIN | select.EPOLLEXCLUSIVE)
            self._is_accepting = True
        elif self._is_accepting:
            self.stop()
            self._loads.wake_lesser(load)

    def stop(self) -> None:
        """Leave new clients to the other workers, or in the kernel's queue."""
        if self._is_accepting:
            for descriptor in self._by_descriptor:
                self._epoll.unregister(descriptor)
        self._is_accepting = False

    def accept(self, descriptor: int) -> bool:
        """Accept a client; return False if there is none, or no descriptor for it."""
        if self._reserve < 0:
            self._reserve = _reserve()
        listener = self._by_descriptor[descriptor]
        try:
            client, _ = listener.accept()
        except OSError as error:
            return error.errno in _EXHAUSTED and self._accept_anyway(listener, error)
        self._admit(client)
        return True

    def _accept_anyway(self, listener: socket.socket, error: OSError) -> bool:
        """Give this client the descriptor of the one reading for longest, or the reserved one.

        If that fails, clients stay in the kernel's queue for a while.
        """
        self._report(error)
        if not self._connections.evict(READING) and self._reserve >= 0:
            os.close(self._reserve)
            self._reserve = -1
        try:
            client, _ = listener.accept()
        except OSError:  # a thread was faster, or it is not descriptors that are missing
            self._closed_until = self._connections.now + _BACK_OFF_S
            return False
        self._admit(client)
        return True

    def _admit(self, client: socket.socket) -> None:
        try:
            self._connections.add(client)
        except OSError:  # it has gone, or the system watches no more descriptors
            client.close()

    def _report(self, error: OSError) -> None:
        if self._connections.now < self._reported + _REPORT_S:
            return
        self._reported = self._connections.now
        log.error(
            "cannot accept a client: %s, with %d connections open; the one unused for longest is "
            "closed. Raise the limit on open files (ulimit -n), or look for user code that leaves "
            "files open",
            error.strerror,
            len(self._connections),
        )

    def drain(self) -> None:
        """Accept the clients that the kernel has accepted already, then close the sockets."""
        self.stop()
        for descriptor, listener in self._by_descriptor.items():
            while self.accept(descriptor):
                pass
            listener.close()


def _reserve() -> int:
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1
