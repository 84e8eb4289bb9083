"""The requests that make an endpoint, together."""

from __future__ import annotations

from typing import Any

import pytest

from local_test.requests.endpoint_requests import EndpointRequests


def variant(**members: Any) -> dict[str, Any]:
    return {"VariantName": "v", "ModelName": "m", **members}


@pytest.mark.parametrize(
    ("production", "shadow", "count"),
    [
        ([variant()], [], 2),
        ([variant(InitialInstanceCount=3)], [], 6),
        ([variant()], [variant()], 4),
        ([variant(ServerlessConfig={"MemorySizeInMB": 1024, "MaxConcurrency": 5})], [], 10),
    ],
)
def test_every_container_that_may_run_at_once_counts(
    production: list[Any], shadow: list[Any], count: int
) -> None:
    models = {"m": {"ModelName": "m", "Containers": [{"Image": "i"}] * 2}}
    config = {"ProductionVariants": production, "ShadowProductionVariants": shadow}

    assert EndpointRequests(models, config, {}).count_containers() == count
