"""Where the hosts of a job meet before TensorFlow connects them, and report who is lost.

Each host keeps a port open until it exits. Peers probe it for liveness and use it to report lost
hosts. TensorFlow's servers would wait for a missing host for ever, and would not name it.
"""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any, Final

from container import machine
from container.contract import Resources
from container.errors import PlatformError

_PORT: Final = 8891
_FIRST_WAIT_S: Final = 0.1  # DS-4: names of peers cannot be resolved at once
_LONGEST_WAIT_S: Final = 5.0
_PROBE_S: Final = 2.0
_MESSAGE_BYTES: Final = 65_536


class Meeting:
    """The open port of this host, and what its peers said there."""

    def __init__(self, resources: Resources, replica_count: int) -> None:
        """Open the port; `replica_count` are the devices with which this host trains.

        Raises: PlatformError if the port cannot be opened.
        """
        self._names = resources.hosts
        self._current = resources.current_host
        self._others = [name for name in resources.hosts if name != resources.current_host]
        self._replica_counts = {self._current: replica_count}
        self._lost: set[str] = set()
        self._heard = threading.Event()
        self._listener = machine.listen_for_hosts(_PORT, len(resources.hosts))
        threading.Thread(target=self._accept, daemon=True, name="meeting").start()

    def wait(self, deadline: float) -> None:
        """Wait until every host has come this far.

        Raises: PlatformError that names the hosts that cannot be reached before `deadline` on the
        monotonic clock, or all hosts if they train with different numbers of devices.
        """
        unreached = set(self._others)
        pause_s = _FIRST_WAIT_S
        # No host answers while TensorFlow connects it: all must have been heard before that.
        while True:
            unreached = {name for name in unreached if not self._send(name)}
            missing = unreached | (set(self._others) - set(self._replica_counts))
            if not missing:
                break
            if time.monotonic() + pause_s > deadline:
                names = ", ".join(sorted(missing))
                raise PlatformError(
                    f"{names} of the job's {len(self._names)} hosts cannot be reached on port "
                    f"{_PORT}"
                )
            self._heard.wait(pause_s)
            self._heard.clear()
            pause_s = min(2 * pause_s, _LONGEST_WAIT_S)
        counts = self._replica_counts
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{name}: {counts[name]}" for name in self._names)
            raise PlatformError(
                f"all hosts of a job must train with the same number of devices; found {listed}; "
                "use instances of one type"
            )

    def find_lost(self) -> list[str]:
        """Find the lost peers, and report them to the other peers.

        The host that detects a loss ends, too. Its report arrives before that, so the others do not
        mistake it for the lost one.
        """
        lost: list[str] = []
        deadline = time.monotonic() + 2 * _PROBE_S
        # A killed host closes its connections one by one.
        while not lost and time.monotonic() < deadline:
            silent = [name for name in self._others if not self._send(name)]
            lost = sorted(self._lost) or silent
            if not lost:
                time.sleep(_FIRST_WAIT_S)
        for name in set(self._others) - set(lost):
            self._send(name, lost)
        return lost

    def _send(self, name: str, lost: Sequence[str] = ()) -> bool:
        """Return whether a host can be reached, and report to it who is `lost`."""
        count = self._replica_counts[self._current]
        message = {"host": self._current, "replica_count": count, "lost": list(lost)}
        try:
            with socket.create_connection((name, _PORT), timeout=_PROBE_S) as connection:
                connection.sendall(json.dumps(message).encode())
                return True
        except OSError:
            return False

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with contextlib.suppress(OSError), connection:
                connection.settimeout(_PROBE_S)
                with connection.makefile("rb") as stream:
                    self._note(stream.read(_MESSAGE_BYTES))

    def _note(self, text: bytes) -> None:
        try:
            message: dict[str, Any] = json.loads(text)
            host, count, lost = message["host"], message["replica_count"], message["lost"]
        except (ValueError, TypeError, KeyError, RecursionError):  # a stranger
            return
        if host in self._names:
            self._lost.update(name for name in lost if name in self._names)
            self._replica_counts[host] = count
            self._heard.set()
