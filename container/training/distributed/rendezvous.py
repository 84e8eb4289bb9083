"""The hosts of a job, and the replicas of the network that they train, by `tf.distribute`.

A replica is one device: the CPU, or each GPU. All of them run the same step on their parts of the
batch, and one sum over all replicas keeps them equal. The first host, the chief, shares its
decisions with the others in the same way.
"""

import json
import os
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
from container.training.distributed.meeting import Meeting

_PORT: Final = 8890  # DS-6: peers can reach each other on any port
# A killed peer is detected at once, by its closed connections. One that vanishes or hangs fails
# three checks of 10 s each, the first of them after this time: it is detected within 40 s. A peer
# without processor time still answers within 10 s, since that needs neither Python nor a step.
_HEALTH_CHECK_S: Final = 10

Array = npt.NDArray[Any]


class Hosts:
    """The hosts of a job as this one sees them; this class is a job of one host."""

    def __init__(
        self, resources: Resources | None = None, strategy: tf.distribute.Strategy | None = None
    ) -> None:
        """Rank the hosts by their order in `resources` (DS-1); without `strategy`: one device."""
        resources = resources or Resources()
        self.names = resources.hosts
        self.rank = resources.rank
        self.count = len(resources.hosts)
        self.is_chief = self.rank == 0
        self.strategy = strategy or tf.distribute.get_strategy()
        self.replica_count: int = self.strategy.num_replicas_in_sync
        """The replicas of all hosts; each host has as many."""

    @property
    def own_replica_count(self) -> int:
        """The replicas of this host."""
        return max(1, self.replica_count // self.count)

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Give each replica a copy of its own of the variables that are made in this context.

        A replica reads and updates its copy. From outside, the first copy is read, and all are
        assigned.
        """

        def make(next_creator: Callable[..., Any], **options: Any) -> Any:
            options["synchronization"] = tf.VariableSynchronization.ON_READ
            options["aggregation"] = tf.VariableAggregation.ONLY_FIRST_REPLICA
            return next_creator(**options)

        with self.strategy.scope(), tf.variable_creator_scope(make):
            yield

    def run(self, function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
        """Call a function once per replica, inside the graph; return what the first one returns.

        The function gets the number of its replica among those of all hosts, then `arguments`.
        """
        if self.replica_count == 1:
            return function(0, *arguments)

        def call(*values: Any) -> Any:
            context = tf.distribute.get_replica_context()
            replica = int(tf.get_static_value(context.replica_id_in_sync_group))
            return function(replica, *values)

        results = self.strategy.run(call, args=tuple(arguments))
        return tf.nest.map_structure(
            lambda result: self.strategy.experimental_local_results(result)[0], results
        )

    def add(self, vectors: Sequence[Any]) -> list[Any]:
        """Sum each vector `[n]` over all replicas, inside a function that `run` calls.

        Vectors are sent as soon as they are ready. All replicas must call it equally often, in the
        same order.
        """
        if self.replica_count == 1:
            return list(vectors)
        options = tf.distribute.experimental.CommunicationOptions(bytes_per_pack=1)
        context = tf.distribute.get_replica_context()
        sums: list[Any] = context.all_reduce(
            tf.distribute.ReduceOp.SUM, list(vectors), options=options
        )
        return sums

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

    def __init__(
        self, resources: Resources, strategy: tf.distribute.Strategy, meeting: Meeting
    ) -> None:
        """`strategy` spans all hosts."""
        super().__init__(resources, strategy)
        self._meeting = meeting
        self._sum = tf.function(self._sum_over_hosts, autograph=False)

    def agree(self, values: Sequence[float]) -> list[float]:  # noqa: D102 - see Hosts
        return [float(value) for value in self._add_up(np.array(values, np.float64))]

    def broadcast(self, arrays: Mapping[str, Array]) -> dict[str, Array]:  # noqa: D102 - see Hosts
        return {
            name: self._add_up(array if self.is_chief else np.zeros_like(array))
            for name, array in sorted(arrays.items())
        }

    def exchange(self, value: Any) -> list[Any]:  # noqa: D102 - see Hosts
        text = np.frombuffer(json.dumps(value).encode(), np.uint8)
        own_lengths = [0] * self.count
        own_lengths[self.rank] = len(text)
        lengths = self.agree(own_lengths)
        table = np.zeros((self.count, int(max(lengths))), np.float32)
        table[self.rank, : len(text)] = text
        return [
            json.loads(row[: int(length)].astype(np.uint8).tobytes())
            for row, length in zip(self._add_up(table), lengths, strict=True)
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
            lost = self._meeting.find_lost()
            raise PlatformError(
                f"{', '.join(lost) or 'a host'} of this job ({self.count} hosts) has ended or "
                f"cannot be reached; its own log has the reason ({type(error).__name__})"
            ) from error

    def _add_up(self, array: Array) -> Array:
        """Sum an array of float32 or float64 over all hosts, from outside the graph."""
        with self.watched():
            total: Array = self._sum(tf.constant(array)).numpy()
        return total

    def _sum_over_hosts(self, array: Any) -> Any:
        def add(replica: int, array: Any) -> Any:
            if replica % self.own_replica_count:  # a host is counted once
                array = tf.zeros_like(array)
            [total] = self.add([tf.reshape(array, [-1])])
            return tf.reshape(total, array.shape)

        return self.run(add, [array])


def connect(
    resources: Resources, wait_s: float, log: Callable[[str], None], places: Sequence[str] = ()
) -> Hosts:
    """Wait for all hosts of the job and connect to them, before TensorFlow's first operation.

    `places` are TensorFlow's names of the devices of this host, if there are several.

    Raises: PlatformError that names the hosts that did not start within `wait_s`.
    """
    if len(resources.hosts) == 1:
        strategy = tf.distribute.MirroredStrategy(list(places)) if places else None
        return Hosts(resources, strategy)
    started = time.monotonic()
    nic = resources.network_interface_name
    for variable in ("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME"):  # DS-2
        os.environ.setdefault(variable, nic)
    os.environ.setdefault("no_grpc_proxy", ",".join(resources.hosts))
    meeting = Meeting(resources, max(1, len(places)))
    meeting.wait(started + wait_s)
    cluster = tf.train.ClusterSpec({"worker": [f"{name}:{_PORT}" for name in resources.hosts]})
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        cluster, task_type="worker", task_id=resources.rank, rpc_layer="grpc"
    )
    CollectiveAllReduceExtended._check_health_interval = _HEALTH_CHECK_S  # noqa: SLF001 - no option
    # NCCL between GPUs, else a ring.
    strategy = tf.distribute.MultiWorkerMirroredStrategy(resolver)
    hosts = ConnectedHosts(resources, strategy, meeting)
    log(
        f"connected {hosts.count} hosts in {time.monotonic() - started:.1f} s; this is "
        f"{resources.current_host}, rank {hosts.rank}{', the chief' if hosts.is_chief else ''}"
    )
    return hosts
