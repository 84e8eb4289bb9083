"""What the service refuses of an inference component, and the model that it runs (IC-1)."""

from collections.abc import Mapping
from typing import Any

from local_test.requests.model_containers import list_containers


def find_faults(request: Mapping[str, Any]) -> list[str]:
    """Return a line for each rule that a CreateInferenceComponent request breaks."""
    if "Specification" not in request:
        return ["Specification: is required"]
    return find_specification_faults(request["Specification"])


def find_update_faults(request: Mapping[str, Any]) -> list[str]:
    """Return a line for each rule that an UpdateInferenceComponent request breaks."""
    if "Specification" in request or "RuntimeConfig" in request:
        return []
    return ["Specification or RuntimeConfig: one of them is required"]


def find_specification_faults(specification: Mapping[str, Any]) -> list[str]:
    """Return a line for each rule that a complete Specification breaks.

    Source: API `InferenceComponentSpecification`.
    """
    faults = []
    container = specification.get("Container")
    if ("ModelName" in specification) == (container is not None):
        found = "neither" if container is None else "both"
        faults.append(
            f"Specification: exactly one of ModelName and Container is required, found {found}"
        )
    elif container is not None and "Image" not in container:
        faults.append("Specification.Container.Image: is required")
    if "ComputeResourceRequirements" not in specification:
        faults.append("Specification.ComputeResourceRequirements: is required")
        return faults
    requirements = specification["ComputeResourceRequirements"]
    least_mb = requirements["MinMemoryRequiredInMb"]
    most_mb = requirements.get("MaxMemoryRequiredInMb", least_mb)
    if most_mb < least_mb:
        faults.append(
            "Specification.ComputeResourceRequirements.MaxMemoryRequiredInMb: must be at least "
            f"MinMemoryRequiredInMb, {least_mb}, found {most_mb}"
        )
    return faults


def find_model_fault(model: Mapping[str, Any]) -> str:
    """Return why a component cannot run a model; nothing if it can."""
    containers = list_containers(model)
    if len(containers) > 1:
        return f"an inference component takes a model of one container, found {len(containers)}"
    if containers[0].is_multi_model:
        return "an inference component takes a container of Mode SingleModel, found MultiModel"
    return ""


def merge(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return a Specification after an update; members that it omits keep their values.

    A ModelName replaces a Container, and the other way round.
    """
    replaced = {"ModelName": "Container", "Container": "ModelName"}
    gone = {other for name, other in replaced.items() if name in new and other not in new}
    merged = {**{name: value for name, value in old.items() if name not in gone}, **new}
    if "Container" in new and "Container" in old:
        merged["Container"] = {**old["Container"], **new["Container"]}
    return merged


def make_model(name: str, container: Mapping[str, Any]) -> dict[str, Any]:
    """Return the CreateModel request of a component's own container."""
    members = {
        "Image": container["Image"],
        "ModelDataUrl": container.get("ArtifactUrl"),
        "Environment": container.get("Environment"),
    }
    primary = {key: value for key, value in members.items() if value is not None}
    return {"ModelName": name, "PrimaryContainer": primary}
