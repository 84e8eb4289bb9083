"""Which variant answers a request: the one that it names, or one by weight.

During a deployment there are two lanes, the old and the new version. Each gets a share of the
requests, and divides it by the weights of its own variants.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from container.errors import RequestError
from local_test.endpoints.variants.variant import Variant

_STOPPED: Final = "the endpoint is being stopped; no variant takes requests (HO-4)"


@dataclass(frozen=True)
class Lane:
    """The production variants of one version."""

    variants: Sequence[Variant]
    shares: Mapping[str, float] = field(default_factory=dict)
    """Share of the requests that this version gets, by variant; all if it is not listed."""

    def weigh(self, target: str | None) -> list[tuple[Variant, float]]:
        """Return the variants that may answer a request, with their parts of the requests."""
        if target is not None:
            chosen = [(variant, 1.0) for variant in self.variants if variant.name == target]
        else:
            largest = max((variant.weight for variant in self.variants), default=0.0) or 1.0
            parts = [(variant, variant.weight / largest) for variant in self.variants]
            total = sum(part for _, part in parts) or 1.0
            chosen = [(variant, part / total) for variant, part in parts]
        return [(variant, part * self.shares.get(variant.name, 1.0)) for variant, part in chosen]


def choose(lanes: Sequence[Lane], target: str | None) -> Variant:
    """Return the variant named `target`, or one by weight.

    Raises: RequestError 400 if the variant does not exist, or all weights are 0; 503 if there are
    no lanes any more.
    """
    if len(lanes) == 1 and len(lanes[0].variants) == 1:
        (only,) = lanes[0].variants
        if target in (None, only.name):
            return only
    weighed = [item for lane in lanes for item in lane.weigh(target)]
    if not lanes:
        raise RequestError(503, _STOPPED)
    names = ", ".join(dict.fromkeys(variant.name for lane in lanes for variant in lane.variants))
    if not weighed:
        raise RequestError(400, f"variant {target!r} does not exist; choose one of {names}")
    variants, parts = zip(*weighed, strict=True)
    if not any(parts):
        message = (
            f"the weights of all variants are 0, so that a request must name one as TargetVariant: "
            f"{names}"
        )
        raise RequestError(400, message)
    chosen: Variant = random.choices(variants, parts)[0]  # noqa: S311 - traffic, not a secret
    return chosen
