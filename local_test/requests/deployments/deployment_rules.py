"""What the service refuses of a DeploymentConfig although it fits its shapes.

Source: API `TrafficRoutingConfig`, `BlueGreenUpdatePolicy`, `RollingUpdatePolicy`; Guide
`deployment-guardrails-exclusions`.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from local_test.requests.deployments import plan

_ROUTING: Final = "DeploymentConfig.BlueGreenUpdatePolicy.TrafficRoutingConfiguration"
_ROLLING: Final = "DeploymentConfig.RollingUpdatePolicy"
_SIZE_OF: Final = {"CANARY": "CanarySize", "LINEAR": "LinearStepSize"}
_PERCENT_RANGES: Final = {
    "CanarySize": (1, 50),
    "LinearStepSize": (10, 50),
    "MaximumBatchSize": (5, 50),
    "RollbackMaximumBatchSize": (1, 100),
}


def find_faults(request: Mapping[str, Any]) -> list[str]:
    """Return a line for each rule that a request's DeploymentConfig breaks by itself."""
    deployment = request.get("DeploymentConfig", {})
    faults = []
    if "BlueGreenUpdatePolicy" in deployment and "RollingUpdatePolicy" in deployment:
        faults.append(
            "DeploymentConfig: only one update policy is possible; leave out BlueGreenUpdatePolicy "
            "or RollingUpdatePolicy"
        )
    if deployment and request.get("RetainDeploymentConfig"):
        faults.append(
            "RetainDeploymentConfig reuses the last deployment configuration; leave out it or "
            "DeploymentConfig"
        )
    routing = deployment.get("BlueGreenUpdatePolicy", {}).get("TrafficRoutingConfiguration")
    if routing is not None:
        faults += _check_routing(routing)
    for label, size in _list_sizes(deployment):
        low, high = _PERCENT_RANGES[label.rpartition(".")[2]]
        if size["Type"] == "CAPACITY_PERCENT" and not low <= size["Value"] <= high:
            faults.append(
                f"{label}: expected {low} to {high} percent of the instances, found {size['Value']}"
            )
    return faults


def _check_routing(routing: Mapping[str, Any]) -> list[str]:
    needed = _SIZE_OF.get(routing["Type"])
    faults = []
    if needed is not None and needed not in routing:
        faults.append(f"{_ROUTING}.{needed}: is required for {routing['Type']}")
    faults += [
        f"{_ROUTING}.{name}: is for {kind} only, found {routing['Type']}; leave it out"
        for kind, name in _SIZE_OF.items()
        if name in routing and name != needed
    ]
    return faults


def _list_sizes(deployment: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each CapacitySize with the path of its field."""
    routing = deployment.get("BlueGreenUpdatePolicy", {}).get("TrafficRoutingConfiguration", {})
    rolling = deployment.get("RollingUpdatePolicy", {})
    for prefix, policy in ((_ROUTING, routing), (_ROLLING, rolling)):
        for name in _PERCENT_RANGES:
            if name in policy:
                yield f"{prefix}.{name}", policy[name]


def find_conflicts(
    deployment: Mapping[str, Any], old: Mapping[str, Any], new: Mapping[str, Any]
) -> list[str]:
    """Return a line for each reason why a valid DeploymentConfig does not fit an update.

    `old` and `new` are endpoint configurations.
    """
    if not deployment:
        return []
    routing = deployment.get("BlueGreenUpdatePolicy", {}).get("TrafficRoutingConfiguration", {})
    is_rolling = "RollingUpdatePolicy" in deployment
    is_shifted = is_rolling or routing.get("Type") in _SIZE_OF
    faults = []
    if is_shifted or "AutoRollbackConfiguration" in deployment:
        faults += _check_kinds(old, new)
    if is_shifted:
        faults += _check_same(old, new)
    if is_rolling:
        faults += _check_rolling(old, new)
    for label, size in _list_sizes(deployment):
        faults += _check_size(label, size, new)
    return faults or _check_time(deployment, new)


def _check_kinds(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    variants = [*old["ProductionVariants"], *new["ProductionVariants"]]
    names = {variant["VariantName"] for variant in variants if "ServerlessConfig" in variant}
    return [
        f"DeploymentConfig: variant {name} is serverless; traffic shifting and alarms are for "
        "real-time and asynchronous endpoints; leave DeploymentConfig out"
        for name in sorted(names)
    ]


def _check_same(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    before, after = (sorted(plan.count_instances(config)) for config in (old, new))
    faults = []
    if before != after:
        faults.append(
            "DeploymentConfig: the new endpoint configuration must have the same variant names, "
            f"{', '.join(before)}; found {', '.join(after)}"
        )
    if ("AsyncInferenceConfig" in old) != ("AsyncInferenceConfig" in new):
        faults.append(
            "DeploymentConfig: an endpoint becomes asynchronous, or ceases to be, all at once only"
        )
    return faults


def _check_rolling(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return [
        f"{_ROLLING}: endpoint configuration {config['EndpointConfigName']} has several variants; "
        "use BlueGreenUpdatePolicy"
        for config in (old, new)
        if len(config["ProductionVariants"]) > 1 or config.get("ShadowProductionVariants")
    ]


def _check_size(label: str, size: Mapping[str, Any], config: Mapping[str, Any]) -> list[str]:
    if size["Type"] != "INSTANCE_COUNT":
        return []
    low, high = _PERCENT_RANGES[label.rpartition(".")[2]]
    return [
        f"{label}: expected {low} to {high} percent of the instances, found {size['Value']} of "
        f"the {total} of variant {name}; use CAPACITY_PERCENT or another number"
        for name, total in plan.count_instances(config).items()
        if total and not low * total <= 100 * size["Value"] <= high * total
    ]


def _check_time(deployment: Mapping[str, Any], config: Mapping[str, Any]) -> list[str]:
    found = plan.make_plan(deployment, config)
    if found.wait_s < found.timeout_s:
        return []
    fault = (
        "DeploymentConfig: MaximumExecutionTimeoutInSeconds must be larger than all waits, "
        f"{found.wait_s} s in {len(found.steps)} steps, found {found.timeout_s:g} s"
    )
    return [fault]
