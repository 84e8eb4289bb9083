"""The requests that make an endpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from container.errors import UserError
from local_test.requests import emulation


@dataclass(frozen=True)
class EndpointRequests:
    """The three requests that make an endpoint."""

    models: dict[str, dict[str, Any]]
    """CreateModel by ModelName."""
    config: dict[str, Any]
    """CreateEndpointConfig."""
    endpoint: dict[str, Any]
    """CreateEndpoint."""

    def check(self) -> None:
        """Check the requests.

        Raises: UserError with every fault of the first request that the service, or this machine,
        refuses.
        """
        for model in self.models.values():
            emulation.check("CreateModel", model)
        emulation.check("CreateEndpointConfig", self.config)
        emulation.check("CreateEndpoint", self.endpoint)
        names = [variant.get("ModelName") for variant in self.config["ProductionVariants"]]
        missing = [str(name) for name in names if name not in self.models]
        if missing:
            message = (
                "the endpoint configuration names models that do not exist: "
                f"{', '.join(missing)}; create them first"
            )
            raise UserError(message)
