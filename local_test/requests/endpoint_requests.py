"""The requests that make an endpoint."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from container.errors import UserError, name_command
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
    has_components: ClassVar[bool] = False
    """Whether inference components can be created on variants that have no model."""

    def find_model(self, variant: Mapping[str, Any]) -> dict[str, Any]:
        """Return a variant's CreateModel request; an empty one if it has no model.

        A model of a configuration that isolates its containers is isolated.
        """
        model = self.models[variant["ModelName"]] if "ModelName" in variant else {}
        if self.config.get("EnableNetworkIsolation"):
            return {**model, "EnableNetworkIsolation": True}
        return model

    def count_containers(self) -> int:
        """Return how many containers may run at once."""
        total = 0
        for variant in variant_rules.list_variants(self.config):
            copies = variant.get("InitialInstanceCount", 1)
            if "ServerlessConfig" in variant:
                copies = variant["ServerlessConfig"]["MaxConcurrency"]
            total += copies * len(list_containers(self.find_model(variant)))
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
        shared = [item["VariantName"] for item in variant_rules.list_shared(variants)]
        if shared and not self.has_components:
            raise UserError(
                f"variant {', '.join(shared)} has no ModelName: it is for inference components, "
                f"which only the local AWS (`{name_command('up')}`) has; name a model"
            )
        names = [item["ModelName"] for item in variants if "ModelName" in item]
        missing = [name for name in names if name not in self.models]
        if missing:
            raise UserError(
                "the endpoint configuration names models that do not exist: "
                f"{', '.join(missing)}; create them first"
            )
        faults = variant_rules.find_conflicts(self.config, self.models)
        if faults:
            raise UserError.from_faults("CreateEndpointConfig is refused", faults)
        return valid
