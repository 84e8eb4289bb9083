"""The hosts of a job, and sums over all of them on TensorFlow's collective runtime.

Every host runs the same program on its part of each batch; one sum per step over one vector of
gradients, statistics and losses keeps them equal. The first host, the chief, shares its decisions
with the others in the same way.

Rules of this file: TensorFlow's multi-worker strategy is created only for its runtime (servers, a
barrier at the start, health checks that end a job whose peer is gone); none of its operations is
used.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow.python.distribute.collective_all_reduce_strategy import CollectiveAllReduceExtended

from container.contract import Resources
from container.errors import PlatformError

_PORT: Final = 8890  # DS-6: peers can reach each other on any port
_MEETING_PORT: Final = 8891
_FIRST_WAIT_S: Final = 0.1  # DS-4: names of peers cannot be resolved at once
_LONGEST_WAIT_S: Final = 5.0
_PROBE_S: Final = 2.0
# Every host gathers and sums the values of all hosts up to this size; longer vectors use a ring.
_SHORT_VALUES: Final = 1 << 20
_MESSAGE_BYTES: Final = 65_536
# A killed peer is detected at once, by its closed connections. One that vanishes or hangs fails
# three checks of 10 s each, the first of them after this time: it is detected within 40 s. A peer
# without processor time still answers within 10 s, since that needs neither Python nor a step.
_HEALTH_CHECK_S: Final = 10

Array = npt.NDArray[Any]


class Hosts:
    """The hosts of a job as this one sees them; this class is a job of one host."""

    def __init__(self, resources: Resources | None = None) -> None:
        """Rank the hosts by their order in `resources` (DS-1)."""
        resources = resources or Resources()
        self.names = resources.hosts
        self.rank = resources.rank
        self.count = len(resources.hosts)
        self.is_chief = self.rank == 0

    def add(self, vector: Any) -> Any:
        """Sum `vector` `[n]` over all hosts, inside the graph.

        All hosts must call it equally often, in the same order and from the same number of calls of
        compiled functions, which the runtime counts to match the sums.
        """
        return vector

    def agree(self, values: Sequence[float]) -> list[float]:
        """Sum a few numbers over all hosts; also a barrier."""
        return [float(value) for value in values]

    def broadcast(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Return the float32 arrays of the chief; all hosts pass the same names and shapes."""
        return dict(arrays)

    def exchange(self, value: Any) -> list[Any]:
        """Return the JSON value of every host, in the order of the ranks."""
        return [value]

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Turn errors of the runtime into one that names the hosts that do not answer.

        Raises: PlatformError.
        """
        yield


class ConnectedHosts(Hosts):
    """Several hosts that are connected."""

    def __init__(self, resources: Resources, lost: set[str]) -> None:
        """`lost` receives the names of lost hosts from the peers."""
        super().__init__(resources)
        self._lost = lost
        self._add = tf.function(self.add, autograph=False, reduce_retracing=True)

    def add(self, vector: Any) -> Any:  # noqa: D102 - see Hosts
        size = vector.shape[0]
        is_short = size is not None and size * self.count <= _SHORT_VALUES
        # An instance of the runtime has one type and one shape.
        kind = 2 * {"float32": 0, "float64": 1, "int32": 2}[vector.dtype.name] + is_short
        group: dict[str, Any] = {
            "group_size": self.count,
            "group_key": 1,
            "instance_key": tf.size(vector) * 6 + kind,
            "ordering_token": [],
            "communication_hint": "auto",
        }
        if is_short:
            gathered = tf.raw_ops.CollectiveGatherV2(input=vector[None], **group)
            return tf.add_n(tf.unstack(gathered, self.count))
        return tf.raw_ops.CollectiveReduceV2(input=vector, merge_op="Add", final_op="Id", **group)

    def agree(self, values: Sequence[float]) -> list[float]:  # noqa: D102 - see Hosts
        with self.watched():
            return [float(value) for value in self._add(tf.constant(values, tf.float64)).numpy()]

    def broadcast(self, arrays: Mapping[str, Array]) -> dict[str, Array]:  # noqa: D102 - see Hosts
        result = {}
        with self.watched():
            for name, array in sorted(arrays.items()):
                own = array if self.is_chief else np.zeros_like(array)
                result[name] = self._add(tf.constant(own)).numpy()
        return result

    def exchange(self, value: Any) -> list[Any]:  # noqa: D102 - see Hosts
        text = np.frombuffer(json.dumps(value).encode(), np.uint8)
        own_lengths = [0] * self.count
        own_lengths[self.rank] = len(text)
        lengths = self.agree(own_lengths)
        table = np.zeros((self.count, int(max(lengths))), np.int32)
        table[self.rank, : len(text)] = text
        with self.watched():
            rows = self._add(tf.constant(table.reshape(-1))).numpy().reshape(table.shape)
        return [
            json.loads(row[: int(length)].astype(np.uint8).tobytes())
            for row, length in zip(rows, lengths, strict=True)
        ]

    @contextmanager
    def watched(self) -> Iterator[None]:  # noqa: D102 - see Hosts
        try:
            yield
        except (
            tf.errors.UnavailableError,
            tf.errors.AbortedError,
            tf.errors.CancelledError,
            tf.errors.DeadlineExceededError,
            tf.errors.InternalError,
            tf.errors.FailedPreconditionError,
        ) as error:
            lost = self._find_lost()
            message = (
                f"{', '.join(lost) or 'a host'} of this job ({self.count} hosts) has ended or "
                f"cannot be reached; its own log has the reason ({type(error).__name__})"
            )
            raise PlatformError(message) from error

    def _find_lost(self) -> list[str]:
        """Find the lost peers, and report them to the other peers.

        The host that detects a loss ends, too. Its report arrives before that, so the others do not
        mistake it for the lost one.
        """
        others = [name for name in self.names if name != self.names[self.rank]]
        lost: list[str] = []
        deadline = time.monotonic() + 2 * _PROBE_S
        # A killed host closes its connections one by one.
        while not lost and time.monotonic() < deadline:
            silent = [name for name in others if not _answers(name)]
            lost = sorted(self._lost) or silent
            if not lost:
                time.sleep(_FIRST_WAIT_S)
        for name in set(others) - set(lost):
            _answers(name, " ".join(lost))
        return lost


def connect(resources: Resources, wait_s: float, log: Callable[[str], None]) -> Hosts:
    """Wait for all hosts of the job and connect to them, before TensorFlow's first operation.

    Raises: PlatformError that names the hosts that did not start within `wait_s`.
    """
    if len(resources.hosts) == 1:
        return Hosts(resources)
    started = time.monotonic()
    nic = resources.network_interface_name
    for variable in ("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME"):  # DS-2
        os.environ.setdefault(variable, nic)
    os.environ.setdefault("no_grpc_proxy", ",".join(resources.hosts))
    lost: set[str] = set()
    _meet(resources, started + wait_s, lost)
    cluster = tf.train.ClusterSpec({"worker": [f"{name}:{_PORT}" for name in resources.hosts]})
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        cluster, task_type="worker", task_id=resources.rank, rpc_layer="grpc"
    )
    CollectiveAllReduceExtended._check_health_interval = _HEALTH_CHECK_S  # noqa: SLF001 - no option
    tf.distribute.MultiWorkerMirroredStrategy(resolver)
    hosts = ConnectedHosts(resources, lost)
    log(
        f"connected {hosts.count} hosts in {time.monotonic() - started:.1f} s; this is "
        f"{resources.current_host}, rank {hosts.rank}{', the chief' if hosts.is_chief else ''}"
    )
    return hosts


def _meet(resources: Resources, deadline: float, lost: set[str]) -> None:
    """Wait until every host has come this far; TensorFlow's servers would wait for ever.

    Each host keeps a port open until it exits. Peers probe it for liveness and use it to report
    lost hosts.

    Raises: PlatformError that names the hosts that cannot be reached.
    """
    listener = socket.create_server(("", _MEETING_PORT), backlog=4 * len(resources.hosts))
    arguments = (listener, resources.hosts, lost)
    threading.Thread(target=_accept, args=arguments, daemon=True, name="meeting").start()
    missing = {name for name in resources.hosts if name != resources.current_host}
    pause_s = _FIRST_WAIT_S
    while missing := {name for name in missing if not _answers(name)}:
        if time.monotonic() + pause_s > deadline:
            names = ", ".join(sorted(missing))
            message = (
                f"{names} of the job's {len(resources.hosts)} hosts cannot be reached on port "
                f"{_MEETING_PORT}"
            )
            raise PlatformError(message)
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_WAIT_S)


def _accept(listener: socket.socket, names: Sequence[str], lost: set[str]) -> None:
    while True:
        connection, _ = listener.accept()
        with contextlib.suppress(OSError), connection:
            connection.settimeout(_PROBE_S)
            message = connection.recv(_MESSAGE_BYTES).decode(errors="replace")  # empty: a probe
            lost.update(name for name in message.split() if name in names)


def _answers(name: str, lost: str = "") -> bool:
    """Return whether a host answers, and report to it who is `lost`."""
    try:
        with socket.create_connection((name, _MEETING_PORT), timeout=_PROBE_S) as connection:
            connection.sendall(lost.encode())
            return True
    except OSError:
        return False
