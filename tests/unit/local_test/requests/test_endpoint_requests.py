"""The requests that make an endpoint, together."""

from __future__ import annotations

from typing import Any

import pytest

from container.errors import UserError
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


def test_only_the_local_aws_takes_variants_without_a_model() -> None:
    config = {
        "EndpointConfigName": "c",
        "ExecutionRoleArn": "arn:aws:iam::000000000000:role/test",
        "ProductionVariants": [{"VariantName": "v"}],
    }
    endpoint = {"EndpointName": "e", "EndpointConfigName": "c"}
    with pytest.raises(UserError, match=r"variant v has no ModelName.*only the local AWS"):
        EndpointRequests({}, config, endpoint).validate()

    class Hosting(EndpointRequests):
        has_components = True

    Hosting({}, config, endpoint).validate()


def test_a_configuration_isolates_its_models() -> None:
    models = {"m": {"ModelName": "m", "PrimaryContainer": {"Image": "i"}}}
    open_requests = EndpointRequests(models, {"EnableNetworkIsolation": False}, {})
    assert open_requests.find_model(variant()) == models["m"]
    isolated = EndpointRequests(models, {"EnableNetworkIsolation": True}, {})
    assert isolated.find_model(variant()) == {**models["m"], "EnableNetworkIsolation": True}
