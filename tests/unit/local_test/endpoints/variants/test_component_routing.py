"""Requests to an endpoint with and without inference components; nothing runs."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import cast

import pytest

from container.errors import RequestError
from local_test.endpoints.variants.component_routing import COMPONENT, TARGET_VARIANT, route
from local_test.endpoints.variants.copies import NO_CAPACITY, Copies
from local_test.endpoints.variants.shared_instances import SharedInstances
from local_test.endpoints.variants.starter import Starter
from local_test.endpoints.variants.variant import Variant

STARTER = cast("Starter", SimpleNamespace(model={}))
SHARED = SharedInstances({"VariantName": "shared"}, STARTER, 1.0)
PLAIN = Variant({"VariantName": "plain", "ModelName": "m"}, STARTER, 1.0)
COPIES = Copies({"VariantName": "shared", "ModelName": "m"}, STARTER, 1.0)


@dataclass
class Component:
    """A component, in service or not yet."""

    variant: Variant | None


COMPONENTS = {"small": Component(COPIES), "starting": Component(None)}


def ask(chosen: Variant, headers: dict[str, str]) -> Variant:
    return route(chosen, lambda: COMPONENTS, headers)


def test_a_component_is_named_where_there_are_some_and_only_there() -> None:
    assert ask(PLAIN, {}) is PLAIN
    assert ask(SHARED, {COMPONENT: "small"}) is COPIES
    assert ask(SHARED, {COMPONENT: "small", TARGET_VARIANT: "shared"}) is COPIES


@pytest.mark.parametrize(
    ("chosen", "headers", "reason"),
    [
        (PLAIN, {COMPONENT: "small"}, "Component Name header is not allowed for endpoints"),
        (SHARED, {}, "Component Name header is required .* components: small, starting"),
        (SHARED, {COMPONENT: "large"}, "large is not in service .* components: small, starting"),
        (SHARED, {COMPONENT: "starting"}, NO_CAPACITY[:50]),
        (
            SharedInstances({"VariantName": "other"}, STARTER, 1.0),
            {COMPONENT: "small", TARGET_VARIANT: "other"},
            "small is on variant 'shared', not on 'other'",
        ),
    ],
)
def test_a_request_that_reaches_nothing_is_refused(
    chosen: Variant, headers: dict[str, str], reason: str
) -> None:
    with pytest.raises(RequestError, match=reason) as refused:
        ask(chosen, headers)
    assert refused.value.status == 400


def test_instances_that_are_shared_have_no_servers() -> None:
    variant = SharedInstances({"VariantName": "v", "InitialInstanceCount": 2}, STARTER, 1.0)
    variant.begin()
    assert variant.servers == []
    described = variant.describe()
    assert (described["CurrentInstanceCount"], described["DesiredInstanceCount"]) == (2, 2)
