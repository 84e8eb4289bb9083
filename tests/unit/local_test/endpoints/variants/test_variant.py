"""Replicas in service: which answer requests, and how they leave."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from container.errors import RequestError
from local_test.endpoints.invocation import ReplacedError
from local_test.endpoints.variants.variant import Patience, Variant
from tests.support import wait_until
from tests.unit.local_test.endpoints.played import make_deployment


def make_variant(count: int) -> Variant:
    deployment, _ = make_deployment(a=count)
    return deployment.current.variants[0]


def never() -> bool:
    return False


def test_healthy_replicas_answer_in_turn() -> None:
    variant = make_variant(3)
    variant.replicas[1].servers[0].is_healthy = False
    names = []
    for _ in range(4):
        with variant.lease() as replica:
            names.append(replica.name)
            assert replica.requests == 1
    assert names == ["a-1", "a-3", "a-1", "a-3"]
    assert [replica.requests for replica in variant.replicas] == [0, 0, 0]
    for replica in variant.replicas:
        replica.servers[0].is_healthy = False
    with pytest.raises(RequestError, match="no server of variant 'a' is healthy"), variant.lease():
        pass


def test_a_closed_variant_sends_requests_elsewhere() -> None:
    variant = make_variant(1)
    variant.close()
    with pytest.raises(ReplacedError, match="send it again"), variant.lease():
        pass


def test_the_last_requests_are_waited_for() -> None:
    variant = make_variant(2)
    leases = [variant.lease() for _ in range(2)]
    replicas = [lease.__enter__() for lease in leases]
    surplus = variant.keep(1)
    assert [replica.name for replica in surplus] == ["a-2"]
    waits = threading.Thread(
        target=variant.wait_for_requests, args=(surplus, Patience(60, never)), daemon=True
    )
    waits.start()
    first, second = (replicas.index(replica) for replica in (variant.replicas[0], surplus[0]))
    leases[first].__exit__(None, None, None)
    assert waits.is_alive()  # the other one still answers
    leases[second].__exit__(None, None, None)
    wait_until(lambda: not waits.is_alive())


@pytest.mark.parametrize("patience", [Patience(-1, never), Patience(60, lambda: True)])
def test_nothing_is_waited_for_when_patience_is_over(patience: Any) -> None:
    variant = make_variant(1)
    with variant.lease():
        variant.close()
        variant.drain(patience)
