"""Which variant answers: by name, by weight, and by the share of its version."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from container.errors import RequestError
from local_test.endpoints.variants import routing
from local_test.endpoints.variants.routing import Lane


def make(name: str, weight: float = 1.0) -> Any:
    return SimpleNamespace(name=name, weight=weight)


@pytest.fixture
def ordered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let random numbers be evenly spaced."""
    numbers = itertools.cycle([(number + 0.5) / 1000 for number in range(1000)])
    source = random.Random()  # noqa: S311 - a test
    monkeypatch.setattr(source, "random", lambda: next(numbers))
    monkeypatch.setattr(routing.random, "choices", source.choices)


def count(lanes: list[Lane], target: str | None = None) -> dict[int, int]:
    found = Counter(id(routing.choose(lanes, target)) for _ in range(1000))
    return dict(found)


@pytest.mark.usefixtures("ordered")
def test_the_share_of_a_version_does_not_depend_on_the_size_of_its_weights() -> None:
    old = make("a", 1)
    new = make("a", 500)
    lanes = [Lane([old], {"a": 0.9}), Lane([new], {"a": 0.1})]
    for target in (None, "a"):
        assert count(lanes, target) == {id(old): 900, id(new): 100}


@pytest.mark.usefixtures("ordered")
def test_each_version_divides_its_share_by_its_own_weights() -> None:
    a, b = make("a", 3), make("b", 1)
    other_a, other_b = make("a", 1), make("b", 1)
    lanes = [Lane([a, b], {"a": 0.5, "b": 0.5}), Lane([other_a, other_b], {"a": 0.5, "b": 0.5})]
    assert count(lanes) == {id(a): 375, id(b): 125, id(other_a): 250, id(other_b): 250}


@pytest.mark.parametrize("weights", [(0, 0), (0.0, 0.0, 0.0)])
def test_weights_that_are_all_0_need_a_target(weights: tuple[float, ...]) -> None:
    variants = [make(name, weight) for name, weight in zip("abc", weights, strict=False)]
    with pytest.raises(RequestError, match="TargetVariant: a, b") as caught:
        routing.choose([Lane(variants)], None)
    assert caught.value.status == 400
    assert routing.choose([Lane(variants)], "b") is variants[1]


def test_a_single_variant_answers_whatever_its_weight() -> None:
    only = make("a", 0)
    assert routing.choose([Lane([only])], None) is only


def test_large_and_small_weights_are_no_fault() -> None:
    huge = [make("a", 1e308), make("b", 1e308)]
    tiny = [make("a", 5e-324), make("b", 0)]
    assert routing.choose([Lane(huge)], None) in huge
    assert routing.choose([Lane(tiny)], None) is tiny[0]


def test_an_unknown_target_and_a_stopped_endpoint_are_refused() -> None:
    lanes = [Lane([make("a"), make("b")])]
    with pytest.raises(RequestError, match="'x' does not exist; choose one of a, b"):
        routing.choose(lanes, "x")
    with pytest.raises(RequestError, match="being stopped") as caught:
        routing.choose([], None)
    assert caught.value.status == 503
