"""What a configuration and the models that it names do not allow together."""

from __future__ import annotations

import re
from typing import Any

import pytest

from local_test.requests.variant_rules import find_conflicts, find_faults, list_variants


def test_an_asynchronous_endpoint_cannot_invoke_a_container_directly() -> None:
    config: dict[str, Any] = {"ProductionVariants": [{"VariantName": "v", "ModelName": "m"}]}
    models: dict[str, Any] = {"m": {"InferenceExecutionConfig": {"Mode": "Direct"}}}
    assert find_conflicts(config, models) == []

    (fault,) = find_conflicts({**config, "AsyncInferenceConfig": {}}, models)

    assert fault.startswith("variant v: an asynchronous request cannot name a container")
    models["m"]["InferenceExecutionConfig"]["Mode"] = "Serial"
    assert find_conflicts({**config, "AsyncInferenceConfig": {}}, models) == []


def serverless(**config: Any) -> dict[str, Any]:
    merged = {"MemorySizeInMB": 2048, "MaxConcurrency": 5, **config}
    return {"VariantName": "v", "ModelName": "m", "ServerlessConfig": merged}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"ProductionVariants": [serverless()]}, ""),
        ({"ProductionVariants": [serverless(MemorySizeInMB=1500)]}, "a multiple of 1024"),
        ({"ProductionVariants": [serverless(ProvisionedConcurrency=6)]}, "at most MaxConcurrency"),
        ({"ProductionVariants": [{**serverless(), "InstanceType": "t"}]}, "has no InstanceType"),
        ({"ProductionVariants": [serverless()], "EnableNetworkIsolation": False}, ""),
        ({"ProductionVariants": [serverless()], "DataCaptureConfig": {"a": 1}}, "cannot have Data"),
        (
            {"ProductionVariants": [serverless(), {"VariantName": "w", "ModelName": "m"}]},
            "must be the only one",
        ),
    ],
)
def test_the_rules_of_a_serverless_variant(config: dict[str, Any], expected: str) -> None:
    faults = find_faults(config)

    assert len(faults) == bool(expected)
    assert expected in "".join(faults)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ({"PrimaryContainer": {"Image": "i"}}, ""),
        ({"PrimaryContainer": {"Image": "i", "Mode": "MultiModel"}}, "a multi-model container"),
        ({"Containers": [{"Image": "i"}] * 2}, "several containers"),
        ({"PrimaryContainer": {}, "EnableNetworkIsolation": True}, "EnableNetworkIsolation"),
        ({"PrimaryContainer": {}, "VpcConfig": {}}, "a VpcConfig"),
    ],
)
def test_the_models_that_a_serverless_variant_takes(model: dict[str, Any], expected: str) -> None:
    faults = find_conflicts({"ProductionVariants": [serverless()]}, {"m": model})

    assert len(faults) == bool(expected)
    assert expected in "".join(faults)


def shadowed(*names: str, **members: Any) -> dict[str, Any]:
    variants = [{"VariantName": name, "ModelName": "m"} for name in names]
    shadow = {"VariantName": "shadow", "ModelName": "m"}
    return {"ProductionVariants": variants, "ShadowProductionVariants": [shadow], **members}


def test_the_rules_of_a_shadow_variant() -> None:
    assert find_faults(shadowed("v")) == []
    assert [item["VariantName"] for item in list_variants(shadowed("v"))] == ["v", "shadow"]
    (fault,) = find_faults(shadowed("v", "w"))
    assert fault.endswith("found 2 and 1")
    (fault,) = find_faults(shadowed("v", AsyncInferenceConfig={}))
    assert "asynchronous" in fault
    weightless = shadowed("v")
    weightless["ProductionVariants"][0]["InitialVariantWeight"] = 0.0
    (fault,) = find_faults(weightless)
    assert "must be above 0" in fault
    several = {"m": {"Containers": [{"Image": "i"}] * 2}}
    assert len(find_conflicts(shadowed("v"), several)) == 2
    assert find_conflicts(shadowed("v"), {"m": {"PrimaryContainer": {"Image": "i"}}}) == []


def shared(*variants: dict[str, Any], **members: Any) -> dict[str, Any]:
    found = [{"VariantName": f"v{number}", **item} for number, item in enumerate(variants)]
    return {"ProductionVariants": found, "ExecutionRoleArn": "arn", **members}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (shared({}), ""),
        (shared({}, {}), ""),
        ({"ProductionVariants": [{"VariantName": "v0"}]}, "v0: .*set ExecutionRoleArn"),
        (shared({}, {"ModelName": "m"}), "leave out ModelName of all variants, or of none"),
        (shared({}, AsyncInferenceConfig={"a": 1}), "cannot be with AsyncInferenceConfig"),
        (
            shared({"ManagedInstanceScaling": {"MinInstanceCount": 3, "MaxInstanceCount": 2}}),
            "MinInstanceCount must be at most MaxInstanceCount, 2, found 3",
        ),
        (shared({"ManagedInstanceScaling": {"MinInstanceCount": 0, "MaxInstanceCount": 2}}), ""),
        (
            shared({"ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1}}),
            "a serverless variant needs one",
        ),
    ],
)
def test_the_rules_of_variants_for_inference_components(
    config: dict[str, Any], expected: str
) -> None:
    faults = find_faults(config)

    assert len(faults) == bool(expected), faults
    assert re.search(expected, "".join(faults))


def test_an_asynchronous_endpoint_has_one_variant() -> None:
    of_a_model = {"ModelName": "m"}
    assert find_faults(shared(of_a_model, AsyncInferenceConfig={})) == []
    [fault] = find_faults(shared(of_a_model, of_a_model, AsyncInferenceConfig={}))
    assert "an asynchronous endpoint has one production variant, found 2" in fault


def test_a_shadow_variant_needs_a_model() -> None:
    config = shadowed("v", ExecutionRoleArn="arn")
    del config["ShadowProductionVariants"][0]["ModelName"]
    assert "no ModelName" in find_faults(config)[0]
