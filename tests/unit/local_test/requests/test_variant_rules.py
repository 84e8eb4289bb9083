"""What a configuration and the models that it names do not allow together."""

from __future__ import annotations

from typing import Any

from local_test.requests.variant_rules import find_conflicts


def test_an_asynchronous_endpoint_cannot_invoke_a_container_directly() -> None:
    config: dict[str, Any] = {"ProductionVariants": [{"VariantName": "v", "ModelName": "m"}]}
    models: dict[str, Any] = {"m": {"InferenceExecutionConfig": {"Mode": "Direct"}}}
    assert find_conflicts(config, models) == []

    (fault,) = find_conflicts({**config, "AsyncInferenceConfig": {}}, models)

    assert fault.startswith("variant v: an asynchronous request cannot name a container")
    models["m"]["InferenceExecutionConfig"]["Mode"] = "Serial"
    assert find_conflicts({**config, "AsyncInferenceConfig": {}}, models) == []
