"""The copies of an inference component that are played: which one gets a request."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from container.errors import RequestError
from local_test.endpoints.server import Server
from local_test.endpoints.variants.copies import NO_CAPACITY, Copies, restrict
from local_test.endpoints.variants.replica import Place, Replica
from local_test.endpoints.variants.starter import Starter
from local_test.requests.model_containers import ModelContainer


def make_copies(*names: str) -> Copies:
    server = cast("Server", SimpleNamespace(is_healthy=True))
    container = ModelContainer("", {"Image": "i"})
    replicas = [Replica(name, {}, [Place(container, server)]) for name in names]
    starter = cast("Starter", SimpleNamespace())
    return Copies({"VariantName": "v"}, starter, 1.0, replicas)


def test_a_request_goes_to_the_copy_that_is_least_busy() -> None:
    copies = make_copies("a", "b", "c")
    with copies.lease() as first, copies.lease() as second:
        for _ in range(4):  # whoever's turn it is
            with copies.lease() as third:
                assert {first.name, second.name, third.name} == {"a", "b", "c"}


def test_idle_copies_take_turns() -> None:
    copies = make_copies("a", "b")
    names = []
    for _ in range(4):
        with copies.lease() as copy:
            names.append(copy.name)
    assert sorted(names) == ["a", "a", "b", "b"]


def test_a_copy_that_is_not_healthy_gets_no_request() -> None:
    copies = make_copies("a", "b")
    copies.replicas[0].places[0].server = cast("Server", SimpleNamespace(is_healthy=False))
    for _ in range(3):
        with copies.lease() as copy:
            assert copy.name == "b"
    copies.replicas[1].places[0].server.is_healthy = False
    with pytest.raises(RequestError, match="no server of variant 'v'") as refused, copies.lease():
        pass
    assert refused.value.status == 503


def test_without_a_copy_the_answer_is_the_service_s() -> None:
    with pytest.raises(RequestError) as refused, make_copies().lease():
        pass
    assert (refused.value.status, str(refused.value)) == (400, NO_CAPACITY)


@pytest.mark.parametrize(
    ("requirements", "expected"),
    [
        ({"MinMemoryRequiredInMb": 256}, {}),
        (
            {"MinMemoryRequiredInMb": 256, "MaxMemoryRequiredInMb": 512},
            {"memory_bytes": 536_870_912},
        ),
    ],
)
def test_the_most_memory_is_a_limit(requirements: dict[str, int], expected: dict[str, int]) -> None:
    assert restrict(requirements) == expected
