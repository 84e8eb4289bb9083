"""A production variant: its share of the requests, and its replicas."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from container.errors import RequestError
from local_test.endpoints.server import Server
from local_test.endpoints.variants.replica import Place, Replica
from local_test.endpoints.variants.starter import Starter


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

    @property
    def name(self) -> str:
        """The variant's name."""
        return str(self.description["VariantName"])

    @property
    def servers(self) -> list[Server]:
        """The servers of all replicas."""
        return [server for replica in self.replicas for server in replica.servers]

    @contextlib.contextmanager
    def lease(self) -> Iterator[Replica]:
        """Yield the healthy replicas in turn, each for one request.

        Raises: RequestError 503 if there are none.
        """
        healthy = [replica for replica in self.replicas if replica.is_healthy]
        if not healthy:
            message = f"no server of variant {self.name!r} is healthy (HO-4)"
            raise RequestError(503, message)
        yield healthy[next(self._turns) % len(healthy)]

    @property
    def is_monitored(self) -> bool:
        """Whether its servers are pinged, and replaced when they exit."""
        return True

    def begin(self) -> list[Replica]:
        """Start as many replicas as its configuration says; they are not healthy yet.

        Raises: UserError, PlatformError; those that run already are in `servers`.
        """
        for _ in range(self.description.get("InitialInstanceCount", 1)):
            self.replicas.append(self.start_replica())
        return self.replicas

    def enter_service(self) -> None:
        """Note that all of them are healthy."""

    def close(self) -> None:
        """Note that its servers are about to be stopped."""

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
