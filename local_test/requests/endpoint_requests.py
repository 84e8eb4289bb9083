"""The requests that make an endpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from container.errors import UserError
from local_test.requests import variant_rules
from local_test.requests.model_containers import list_containers
from local_test.requests.validation import ValidRequest, validate


@dataclass(frozen=True)
class EndpointRequests:
    """The three requests that make an endpoint."""

    models: dict[str, dict[str, Any]]
    """CreateModel by ModelName."""
    config: dict[str, Any]
    """CreateEndpointConfig."""
    endpoint: dict[str, Any]
    """CreateEndpoint."""

    def count_containers(self) -> int:
        """Return how many containers may run at once."""
        total = 0
        for variant in variant_rules.list_variants(self.config):
            copies = variant.get("InitialInstanceCount", 1)
            if "ServerlessConfig" in variant:
                copies = variant["ServerlessConfig"]["MaxConcurrency"]
            total += copies * len(list_containers(self.models[variant["ModelName"]]))
        return total

    def validate(self) -> list[ValidRequest]:
        """Validate the requests and return them, the models first.

        Raises: UserError with every fault of the first request that the service, or this machine,
        refuses.
        """
        valid = [validate("CreateModel", model) for model in self.models.values()]
        valid.append(validate("CreateEndpointConfig", self.config))
        valid.append(validate("CreateEndpoint", self.endpoint))
        variants = variant_rules.list_variants(self.config)
        names = [variant.get("ModelName") for variant in variants]
        missing = [str(name) for name in names if name not in self.models]
        if missing:
            message = (
                "the endpoint configuration names models that do not exist: "
                f"{', '.join(missing)}; create them first"
            )
            raise UserError(message)
        faults = variant_rules.find_conflicts(self.config, self.models)
        if faults:
            raise UserError.from_faults("CreateEndpointConfig is refused", faults)
        return valid
