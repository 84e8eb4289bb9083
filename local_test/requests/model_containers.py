"""The containers of a model: one, or 2 to 15 that share an instance (PIP-1)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_LEAST: Final = 2
_MOST: Final = 15


@dataclass(frozen=True)
class ModelContainer:
    """One container of a model."""

    name: str
    """Its host name, by default `container-1` and so on; empty for the only one of a model."""
    definition: dict[str, Any]
    """Its entry in CreateModel."""

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that the model sets."""
        found: Mapping[str, str] = self.definition.get("Environment", {})
        return found

    @property
    def image(self) -> str:
        """The image, or nothing."""
        return str(self.definition.get("Image", ""))

    @property
    def is_multi_model(self) -> bool:
        """Whether requests name their model (MME-1)."""
        return bool(self.definition.get("Mode") == "MultiModel")


def list_containers(model: Mapping[str, Any]) -> list[ModelContainer]:
    """Return the containers of a CreateModel request, in their order."""
    several = model.get("Containers", [])
    if len(several) < _LEAST:
        only = several[0] if several else model.get("PrimaryContainer", {})
        return [ModelContainer("", only)]
    return [
        ModelContainer(definition.get("ContainerHostname", f"container-{number}"), definition)
        for number, definition in enumerate(several, 1)
    ]


def is_direct(model: Mapping[str, Any]) -> bool:
    """Return whether requests name the container that answers them."""
    return bool(model.get("InferenceExecutionConfig", {}).get("Mode") == "Direct")


def find_faults(model: Mapping[str, Any]) -> list[str]:
    """Return a line for each rule of several containers that a CreateModel request breaks.

    Source: the API reference of ContainerDefinition; Guide `multi-container-create`.
    """
    several = model.get("Containers", [])
    if len(several) < _LEAST:
        if not is_direct(model):
            return []
        fault = (
            "InferenceExecutionConfig.Mode: Direct is for a model of 2 to 15 Containers, found "
            f"{len(several) or 'a PrimaryContainer'}"
        )
        return [fault]
    faults = []
    if len(several) > _MOST:
        faults.append(f"Containers: at most {_MOST}, found {len(several)}")
    faults += _check_names(
        [item.get("ContainerHostname") for item in several], is_needed=is_direct(model)
    )
    containers = list_containers(model)
    without_image = [item.name for item in containers if not item.image]
    if without_image:
        faults.append(f"Containers: {', '.join(without_image)}: Image is required")
    if sum(item.is_multi_model for item in containers) > 1:
        faults.append("Containers: at most one of several can have Mode MultiModel (PIP-1)")
    return faults


def _check_names(names: list[str | None], *, is_needed: bool) -> list[str]:
    given = [name for name in names if name]
    if not given and not is_needed:
        return []
    if len(given) < len(names):
        fault = (
            f"Containers: {len(given)} of {len(names)} have a ContainerHostname; name all of them "
            "(only a Serial pipeline can do without names)"
        )
        return [fault]
    if len(set(given)) < len(given):
        return [f"Containers: ContainerHostname must be unique, found {', '.join(given)}"]
    return []


def find_transform_fault(model: Mapping[str, Any]) -> str:
    """Return why a transform job cannot invoke a model; nothing if it can.

    Its requests name neither a container nor a model.
    """
    if is_direct(model):
        return "a transform job needs InferenceExecutionConfig.Mode Serial, found Direct (PIP-1)"
    if any(container.is_multi_model for container in list_containers(model)):
        return "a transform job needs containers of Mode SingleModel, found MultiModel (MME-1)"
    return ""
