"""The copies of an inference component; each request goes to one that is least busy (IC-1)."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from container.errors import RequestError
from local_test.endpoints.variants.replica import Replica
from local_test.endpoints.variants.variant import Variant

REQUIREMENTS: Final = "ComputeResourceRequirements"
"""The member of a variant's description that makes it one of copies."""
NO_CAPACITY: Final = (
    "Inference Component has no capacity to process this request. ApplicationAutoScaling may be "
    "in-progress (if configured) or try to increase the capacity by invoking "
    "UpdateInferenceComponentRuntimeConfig API."
)
"""The service's own words for a component without a copy."""
_MEGABYTE: Final = 1024**2


def restrict(requirements: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of `Launch` by which ComputeResourceRequirements restrict a container."""
    most_mb = requirements.get("MaxMemoryRequiredInMb")
    return {"memory_bytes": most_mb * _MEGABYTE} if most_mb else {}


class Copies(Variant):
    """The copies of a component."""

    def _take(self, session: str) -> Replica:
        if not self.replicas:
            raise RequestError(400, NO_CAPACITY)
        return super()._take(session)

    def _choose(self, healthy: Sequence[Replica]) -> Replica:
        """Return the copy that has the fewest requests; equals take turns."""
        first = next(self._turns) % len(healthy)
        in_turn = [*healthy[first:], *healthy[:first]]
        return min(in_turn, key=lambda copy: copy.requests)
