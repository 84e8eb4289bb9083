"""What the service refuses of an endpoint configuration and the models that it names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local_test.requests.model_containers import is_direct


def find_conflicts(config: Mapping[str, Any], models: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a line for each model that cannot be served as its variant's configuration says.

    `models` are CreateModel requests by model name; those that are absent are not judged.
    """
    faults = []
    for variant in config["ProductionVariants"]:
        model = models.get(variant.get("ModelName", ""), {})
        name = variant["VariantName"]
        if "AsyncInferenceConfig" in config and is_direct(model):
            faults.append(
                f"variant {name}: an asynchronous request cannot name a container; use "
                "InferenceExecutionConfig.Mode Serial (PIP-1)"
            )
    return faults
