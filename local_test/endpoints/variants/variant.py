"""A production variant: its share of the requests, and its replicas."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from container.errors import RequestError
from local_test.endpoints.invocation import ReplacedError
from local_test.endpoints.server import Server
from local_test.endpoints.variants.replica import Place, Replica
from local_test.endpoints.variants.starter import Starter

_LOOK_S: Final = 0.2  # for the end of a wait


class Patience:
    """How long to wait for the last requests to a server that is about to be stopped."""

    def __init__(self, limit_s: float, has_ended: Callable[[], bool]) -> None:
        """Begin to wait: for `limit_s`, or until `has_ended` returns True."""
        self._deadline = time.monotonic() + limit_s
        self._has_ended = has_ended

    def is_over(self) -> bool:
        """Return whether nothing is to be waited for any more."""
        return self._has_ended() or time.monotonic() > self._deadline


@dataclass
class Variant:
    """A production variant and its replicas."""

    description: Mapping[str, Any]
    """Its entry in CreateEndpointConfig."""
    starter: Starter
    """Starts the servers of its model."""
    weight: float
    replicas: list[Replica] = field(default_factory=list)
    _turns: itertools.count[int] = field(default_factory=itertools.count)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _changed: threading.Condition = field(default_factory=threading.Condition)
    """Held while replicas are chosen or removed, and notified at the end of requests."""
    _is_closed: bool = False

    @property
    def name(self) -> str:
        """The variant's name."""
        return str(self.description["VariantName"])

    @property
    def servers(self) -> list[Server]:
        """The servers of all replicas."""
        return [server for replica in self.replicas for server in replica.servers]

    @contextlib.contextmanager
    def lease(self, session: str = "") -> Iterator[Replica]:
        """Yield the healthy replicas in turn, each for one request, or the one with a session.

        Raises: RequestError 503 if there are none, ReplacedError after `close`.
        """
        replica = self._take(session)
        try:
            yield replica
        finally:
            with self._changed:
                replica.requests -= 1
                self._changed.notify_all()

    def find_session(self, session: str) -> Replica | None:
        """Return the healthy replica that has opened a session and not closed it (SE-1)."""
        for replica in self.replicas:
            if session in replica.sessions and replica.is_healthy:
                return replica
        return None

    def _take(self, session: str) -> Replica:
        with self._changed:
            if self._is_closed:
                raise ReplacedError(self.name)
            healthy = [replica for replica in self.replicas if replica.is_healthy]
            if not healthy:
                raise RequestError(503, f"no server of variant {self.name!r} is healthy (HO-4)")
            replica = self.find_session(session) or self._choose(healthy)
            replica.requests += 1
            return replica

    def _choose(self, healthy: Sequence[Replica]) -> Replica:
        """Return the replica that answers the next request, one of at least one."""
        return healthy[next(self._turns) % len(healthy)]

    def keep(self, count: int) -> list[Replica]:
        """Keep the first `count` replicas in service, and return the others.

        Those may still be answering requests.
        """
        with self._changed:
            surplus = self.replicas[count:]
            self.replicas = self.replicas[:count]
        return surplus

    def wait_for_requests(self, replicas: Sequence[Replica], patience: Patience) -> None:
        """Wait until replicas that are out of service have answered their last requests."""
        self._wait_until(lambda: not any(replica.requests for replica in replicas), patience)

    def drain(self, patience: Patience) -> None:
        """Wait until a variant that is closed has answered its last requests."""
        self.wait_for_requests(self.replicas, patience)

    def _wait_until(self, is_idle: Callable[[], bool], patience: Patience) -> None:
        with self._changed:
            while not (is_idle() or patience.is_over()):
                self._changed.wait(_LOOK_S)

    @property
    def is_monitored(self) -> bool:
        """Whether its servers are pinged, and replaced when they exit."""
        return True

    def begin(self, count: int | None = None) -> list[Replica]:
        """Start `count` replicas, or as many as its configuration says; they are not healthy yet.

        Raises: UserError, PlatformError; those that run already are in `servers`.
        """
        for _ in range(count or self.description.get("InitialInstanceCount", 1)):
            self.replicas.append(self.start_replica())
        return self.replicas

    def enter_service(self) -> None:
        """Note that all of them are healthy."""

    def close(self) -> None:
        """Take no more requests, since its servers are about to be stopped."""
        with self._changed:
            self._is_closed = True

    def start_replica(self) -> Replica:
        """Start another replica, under a name that no earlier one had; it is not in service yet.

        Raises: UserError, PlatformError.
        """
        return self.starter.start_replica(self._next_name())

    def start_again(self, place: Place) -> Place:
        """Start another server for the container of one that has exited (HO-12).

        Raises: UserError, PlatformError.
        """
        return self.starter.start(self._next_name(), place.container)

    def describe(self) -> dict[str, Any]:
        """Return its entry in the answer to DescribeEndpoint."""
        return {
            "VariantName": self.name,
            "CurrentWeight": self.weight,
            "CurrentInstanceCount": sum(replica.is_healthy for replica in self.replicas),
            "DesiredInstanceCount": len(self.replicas),
        }

    def summarize(self) -> dict[str, str]:
        """Return what the console shows of it."""
        healthy = sum(replica.is_healthy for replica in self.replicas)
        return {"Healthy servers": f"{healthy} of {len(self.replicas)}"}

    def _next_name(self) -> str:
        return f"{self.name}-{next(self._numbers)}"
