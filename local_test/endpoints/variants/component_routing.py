"""Which variant, or which inference component, answers a request (IC-1)."""

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from container.errors import RequestError
from local_test.endpoints.invocation import COMPONENT, HEADER_PREFIX
from local_test.endpoints.variants.copies import NO_CAPACITY
from local_test.endpoints.variants.shared_instances import SharedInstances
from local_test.endpoints.variants.variant import Variant

TARGET_VARIANT: Final = HEADER_PREFIX + "target-variant"
_NEEDED: Final = (
    "Inference Component Name header is required for endpoints to which you plan to deploy "
    "inference components. Please include Inference Component Name header or consider using "
    "SageMaker models."
)  # the service's own words, which clients look for; so are those below
_NOT_ALLOWED: Final = (
    "Inference Component Name header is not allowed for endpoints to which you dont plan to deploy "
    "inference components. Please remove the Inference Component Name header and try again."
)


class Hosted(Protocol):
    """An inference component, as far as requests concern it."""

    @property
    def variant(self) -> Variant | None:
        """Its copies; None before they have been in service."""


def route(
    chosen: Variant, list_components: Callable[[], Mapping[str, Hosted]], headers: Mapping[str, str]
) -> Variant:
    """Return what answers a request: the variant that was chosen, or the copies of a component.

    `list_components` returns those of the endpoint, by name; header names are in lower case.

    Raises: RequestError 400 if the request names a component where there are none, none where it
    has to, or one that does not exist or has no copy.
    """
    name = headers.get(COMPONENT)
    if not isinstance(chosen, SharedInstances):
        if name is not None:
            raise RequestError(400, _NOT_ALLOWED)
        return chosen
    components = list_components()
    names = ", ".join(sorted(components)) or "none yet"
    if name is None:
        raise RequestError(400, f"{_NEEDED} The endpoint's inference components: {names}.")
    component = components.get(name)
    if component is None:
        message = (
            f"Inference component {name} is not in service at this endpoint; its inference "
            f"components: {names}"
        )
        raise RequestError(400, message)
    if component.variant is None:
        raise RequestError(400, NO_CAPACITY)
    if TARGET_VARIANT in headers and component.variant.name != chosen.name:
        message = (
            f"inference component {name} is on variant {component.variant.name!r}, not on "
            f"{chosen.name!r}; leave TargetVariant out"
        )
        raise RequestError(400, message)
    return component.variant
