"""What the service refuses of an endpoint configuration and the models that it names."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from local_test.requests.model_containers import is_direct, list_containers

_OF_INSTANCES: Final = (
    "InitialInstanceCount",
    "InstanceType",
    "VolumeSizeInGB",
    "ManagedInstanceScaling",
    "InferenceAmiVersion",
    "CapacityReservationConfig",
)
"""Members of a variant that a serverless one does not have."""
_NOT_SERVERLESS: Final = (
    "DataCaptureConfig",
    "AsyncInferenceConfig",
    "VpcConfig",
    "EnableNetworkIsolation",
)
"""Members of a configuration that serverless variants exclude."""
_STEP_MB: Final = 1024


def list_variants(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return all variants of a configuration, the shadow variant last."""
    return [*config["ProductionVariants"], *config.get("ShadowProductionVariants", ())]


def find_faults(config: Mapping[str, Any]) -> list[str]:
    """Return a line for each rule that a CreateEndpointConfig request breaks.

    Source: Guide `serverless-endpoints`; API `ProductionVariantServerlessConfig`; AWS CDK RFC 431
    on asynchronous endpoints.
    """
    variants = list_variants(config)
    faults = _check_shadow(config) + _check_shared(config)
    count = len(config["ProductionVariants"])
    if "AsyncInferenceConfig" in config and count > 1:
        faults.append(
            "AsyncInferenceConfig: an asynchronous endpoint has one production variant, found "
            f"{count}; create an endpoint for each (ASY-1)"
        )
    for variant in variants:
        weight = variant.get("InitialVariantWeight", 1.0)
        if not math.isfinite(weight):
            faults.append(
                f"variant {variant['VariantName']}: InitialVariantWeight must be a finite number, "
                f"found {weight}"
            )
        if "ServerlessConfig" in variant:
            label = f"variant {variant['VariantName']}"
            faults += [f"{label}: {fault}" for fault in _check_serverless(variant)]
            faults += [
                f"{label}: a serverless endpoint cannot have {name} (SRV-1)"
                for name in _NOT_SERVERLESS
                if config.get(name)
            ]
            if len(variants) > 1:
                faults.append(f"{label}: a serverless variant must be the only one (SRV-1)")
    return faults


def list_shared(variants: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the variants without a model, which are for inference components (IC-1)."""
    return [item for item in variants if "ModelName" not in item]


def _check_shared(config: Mapping[str, Any]) -> list[str]:
    """Check the variants without a model, whose instances inference components share.

    Source: API `CreateEndpointConfig`; Guide `realtime-endpoints-deploy-models`.
    """
    variants = list_variants(config)
    shared = list_shared(variants)
    if not shared:
        return []
    names = ", ".join(item["VariantName"] for item in shared)
    label = f"variant {names}: no ModelName, so it is for inference components"
    faults = []
    if len(shared) < len(variants):
        faults.append(f"{label}; leave out ModelName of all variants, or of none (IC-1)")
    if "ExecutionRoleArn" not in config:
        faults.append(f"{label}; set ExecutionRoleArn, since no model has one (IC-1)")
    faults += [
        f"{label}, which cannot be with {name} (IC-1)"
        for name in ("AsyncInferenceConfig", "ShadowProductionVariants")
        if name in config
    ]
    if any("ServerlessConfig" in item for item in shared):
        faults.append(f"{label}; a serverless variant needs one (SRV-1)")
    return [*faults, *(fault for item in shared for fault in _check_scaling(item))]


def _check_scaling(variant: Mapping[str, Any]) -> list[str]:
    scaling = variant.get("ManagedInstanceScaling", {})
    least = scaling.get("MinInstanceCount", 0)
    most = scaling.get("MaxInstanceCount", least)
    if least <= most:
        return []
    fault = (
        f"variant {variant['VariantName']}: ManagedInstanceScaling.MinInstanceCount must be at "
        f"most MaxInstanceCount, {most}, found {least}"
    )
    return [fault]


def _check_shadow(config: Mapping[str, Any]) -> list[str]:
    """Source: API `CreateEndpointConfig`; Guide `shadow-tests`."""
    shadows = config.get("ShadowProductionVariants", ())
    if not shadows:
        return []
    faults = []
    counts = (len(config["ProductionVariants"]), len(shadows))
    if counts != (1, 1):
        faults.append(
            "ShadowProductionVariants: it needs one production and one shadow variant, found "
            f"{counts[0]} and {counts[1]}"
        )
    if "AsyncInferenceConfig" in config:
        faults.append("ShadowProductionVariants: an asynchronous endpoint has none")
    if config["ProductionVariants"][0].get("InitialVariantWeight", 1.0) <= 0:
        faults.append(
            "ShadowProductionVariants: the production variant's InitialVariantWeight must be above "
            "0; the shadow's share is their ratio"
        )
    return faults


def _check_serverless(variant: Mapping[str, Any]) -> list[str]:
    serverless = variant["ServerlessConfig"]
    faults = [
        f"a serverless variant has no {name} (SRV-1)" for name in _OF_INSTANCES if name in variant
    ]
    if serverless["MemorySizeInMB"] % _STEP_MB:
        faults.append(
            f"MemorySizeInMB must be a multiple of {_STEP_MB}, found {serverless['MemorySizeInMB']}"
        )
    provisioned = serverless.get("ProvisionedConcurrency", 1)
    if provisioned > serverless["MaxConcurrency"]:
        faults.append(
            f"ProvisionedConcurrency must be at most MaxConcurrency, {serverless['MaxConcurrency']}"
            f", found {provisioned}"
        )
    return faults


def find_conflicts(config: Mapping[str, Any], models: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a line for each model that cannot be served as its variant's configuration says.

    `models` are CreateModel requests by model name; those that are absent are not judged.
    """
    faults = []
    for variant in list_variants(config):
        model = models.get(variant.get("ModelName", ""), {})
        name = variant["VariantName"]
        if "AsyncInferenceConfig" in config and is_direct(model):
            faults.append(
                f"variant {name}: an asynchronous request cannot name a container; use "
                "InferenceExecutionConfig.Mode Serial (PIP-1)"
            )
        if "ServerlessConfig" in variant:
            faults += [f"variant {name}: {fault}" for fault in _check_serverless_model(model)]
        containers = list_containers(model)
        is_special = len(containers) > 1 or containers[0].is_multi_model
        if "ShadowProductionVariants" in config and is_special:
            faults.append(
                f"variant {name}: with a shadow variant, each model has one container that serves "
                "one model"
            )
    return faults


def _check_serverless_model(model: Mapping[str, Any]) -> list[str]:
    containers = list_containers(model)
    found = {
        "several containers": len(containers) > 1,
        "a multi-model container": any(item.is_multi_model for item in containers),
        "a VpcConfig": "VpcConfig" in model,
        "EnableNetworkIsolation": model.get("EnableNetworkIsolation", False),
    }
    return [
        f"a serverless endpoint does not take a model with {what} (SRV-1)"
        for what, is_found in found.items()
        if is_found
    ]
