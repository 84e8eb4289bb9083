"""Several hosts that train one model: who they are, and sums over all of them on TensorFlow's collective runtime.

Every host runs the same program on its part of each batch; one sum a step over one vector of
gradients, statistics and losses keeps them equal. What the first host, the chief, decides, it tells
the others in the same way.

Rules of this file: TensorFlow's multi-worker strategy is made for its runtime alone (servers, a
barrier at the start, health checks that end a job whose peer is gone); no operation of the strategy
is used.
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

_PORT: Final = 8890  # DS-6: any free one; peers are open to each other
_MEETING_PORT: Final = 8891
_FIRST_WAIT_S: Final = 0.1  # DS-4: names of peers are not known at once
_LONGEST_WAIT_S: Final = 5.0
_PROBE_S: Final = 2.0
# Up to here every host's values go round once and are summed by each; longer vectors go round in
# parts, twice.
_SHORT_VALUES: Final = 1 << 20
_MESSAGE_BYTES: Final = 65_536
# A peer that is killed is found out at once, by its closed connections. One that vanishes without a
# word, or hangs, has failed three checks of 10 s each, the first of them after so long: it is found
# out within 40 s. A peer that is merely starved of processors answers within 10 s, since no Python
# and no step stands in the way of its answer.
_HEALTH_CHECK_S: Final = 10


class Hosts:
    """The hosts of a job that is connected."""

    def __init__(self, resources: Resources, lost: set[str]) -> None:
        """`resources` names the hosts; their order gives the ranks (DS-1). Peers tell which are `lost`."""
        self.names, self.rank, self.count = resources.hosts, resources.rank, len(resources.hosts)
        self.is_chief = self.rank == 0
        self._lost = lost
        self._add = tf.function(self.add, autograph=False, reduce_retracing=True)

    def add(self, vector: Any) -> Any:
        """Sum `vector` `[n]` over all hosts, inside the graph.

        All must call it as often and in the same order, and from as many calls of compiled
        functions: the runtime counts these to know which sums belong together.
        """
        size = vector.shape[0]
        is_short = size is not None and size * self.count <= _SHORT_VALUES
        # To the runtime an instance is of one type and one shape for ever.
        kind = 2 * {"float32": 0, "float64": 1, "int32": 2}[vector.dtype.name] + is_short
        whom: dict[str, Any] = {
            "group_size": self.count,
            "group_key": 1,
            "instance_key": tf.size(vector) * 6 + kind,
            "ordering_token": [],
            "communication_hint": "auto",
        }
        if is_short:
            return tf.add_n(
                tf.unstack(tf.raw_ops.CollectiveGatherV2(input=vector[None], **whom), self.count)
            )
        return tf.raw_ops.CollectiveReduceV2(input=vector, merge_op="Add", final_op="Id", **whom)

    def agree(self, values: Sequence[float]) -> list[float]:
        """Sum a few numbers over all hosts; also a barrier."""
        with self.watched():
            return [float(value) for value in self._add(tf.constant(values, tf.float64)).numpy()]

    def broadcast(self, arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Give all hosts the chief's float32 arrays; the others' are of the same names and shapes."""
        with self.watched():
            return {
                name: self._add(
                    tf.constant(array if self.is_chief else np.zeros_like(array))
                ).numpy()
                for name, array in sorted(arrays.items())
            }

    def exchange(self, value: Any) -> list[Any]:
        """Give every host's JSON value, in the order of the ranks."""
        text = np.frombuffer(json.dumps(value).encode(), np.uint8)
        lengths = self.agree([len(text) if rank == self.rank else 0 for rank in range(self.count)])
        table = np.zeros((self.count, int(max(lengths))), np.int32)
        table[self.rank, : len(text)] = text
        with self.watched():
            rows = self._add(tf.constant(table.reshape(-1))).numpy().reshape(table.shape)
        return [
            json.loads(row[: int(length)].astype(np.uint8).tobytes())
            for row, length in zip(rows, lengths, strict=True)
        ]

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Turn the runtime's errors into one that names the hosts that do not answer.

        Raises: PlatformError.
        """
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
                f"{', '.join(lost) or 'a host'} of this job ({self.count} hosts) has ended or cannot be reached any "
                f"more; its own log tells why ({type(error).__name__})"
            )
            raise PlatformError(message) from error

    def _find_lost(self) -> list[str]:
        """Name the peers that are lost, and tell the others.

        Whoever finds out first ends, too, and must not be taken for the one that was lost: it has
        told by then.
        """
        others = [name for name in self.names if name != self.names[self.rank]]
        lost: list[str] = []
        deadline = time.monotonic() + 2 * _PROBE_S
        while (
            not lost and time.monotonic() < deadline
        ):  # one that is killed closes its connections one by one
            silent = [name for name in others if not _answers(name)]
            lost = sorted(self._lost) or silent
            time.sleep(0 if lost else _FIRST_WAIT_S)
        for name in set(others) - set(lost):
            _answers(name, " ".join(lost))
        return lost


def connect(resources: Resources, wait_s: float, log: Callable[[str], None]) -> Hosts | None:
    """Wait for all hosts of the job and connect to them; None if this host is alone.

    Must come before TensorFlow's first operation.

    Raises: PlatformError that names the hosts that have not come within `wait_s`.
    """
    if len(resources.hosts) == 1:
        return None
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
    CollectiveAllReduceExtended._check_health_interval = _HEALTH_CHECK_S  # noqa: SLF001 - there is no public way
    tf.distribute.MultiWorkerMirroredStrategy(resolver)
    hosts = Hosts(resources, lost)
    log(
        f"connected {hosts.count} hosts in {time.monotonic() - started:.1f} s; this is {resources.current_host}, "
        f"rank {hosts.rank}{', the chief' if hosts.is_chief else ''}"
    )
    return hosts


def _meet(resources: Resources, deadline: float, lost: set[str]) -> None:
    """Wait until every host has come as far as this; TensorFlow's own servers wait for each other without end.

    Every host listens, to the end of its process, on a port that tells that it is there, and on
    which it is told who is lost.

    Raises: PlatformError that names the hosts that have not come.
    """
    listener = socket.create_server(("", _MEETING_PORT), backlog=4 * len(resources.hosts))
    threading.Thread(
        target=_accept, args=(listener, resources.hosts, lost), daemon=True, name="meeting"
    ).start()
    missing = {name for name in resources.hosts if name != resources.current_host}
    pause_s = _FIRST_WAIT_S
    while missing := {name for name in missing if not _answers(name)}:
        if time.monotonic() + pause_s > deadline:
            names = ", ".join(sorted(missing))
            message = f"{names} of the job's {len(resources.hosts)} hosts cannot be reached on port {_MEETING_PORT}"
            raise PlatformError(message)
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_WAIT_S)


def _accept(listener: socket.socket, names: Sequence[str], lost: set[str]) -> None:
    while True:
        connection, _ = listener.accept()
        with contextlib.suppress(OSError), connection:
            connection.settimeout(_PROBE_S)
            told = (
                connection.recv(_MESSAGE_BYTES).decode(errors="replace").split()
            )  # nothing: it only asks
            lost.update(name for name in told if name in names)


def _answers(name: str, lost: str = "") -> bool:
    """Tell whether a host is there, and tell it who is `lost`."""
    try:
        with socket.create_connection((name, _MEETING_PORT), timeout=_PROBE_S) as connection:
            connection.sendall(lost.encode())
            return True
    except OSError:
        return False
