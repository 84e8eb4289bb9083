"""The variants of one endpoint configuration, and how far a deployment of it is."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from local_test.endpoints.server import Server
from local_test.endpoints.variants.shadow import Shadow
from local_test.endpoints.variants.variant import Patience, Variant


@dataclass(frozen=True)
class Version:
    """The variants that run for one endpoint configuration."""

    variants: Sequence[Variant] = ()
    """The production variants."""
    shadow: Shadow | None = None

    def list_all(self) -> list[Variant]:
        """Return all variants, the shadow variant last."""
        if self.shadow is None:
            return [*self.variants]
        return [*self.variants, self.shadow.variant]

    def servers(self) -> list[Server]:
        """Return the servers of all variants."""
        return [server for variant in self.list_all() for server in variant.servers]

    def enter_service(self) -> None:
        """Note that all servers are healthy."""
        for variant in self.list_all():
            variant.enter_service()

    def close(self) -> None:
        """Take no more requests; those that are under way go on."""
        if self.shadow is not None:
            self.shadow.close()
        for variant in self.list_all():
            variant.close()

    def drain(self, patience: Patience) -> None:
        """Wait until a version that is closed has answered its last requests."""
        for variant in self.list_all():
            variant.drain(patience)


@dataclass(frozen=True)
class Stage:
    """What a deployment does just now, as DescribeEndpoint names it."""

    status: str
    message: str
    started_s: float = field(default_factory=time.time)

    def describe(self) -> dict[str, Any]:
        """Return it as a `VariantStatus`."""
        return {"Status": self.status, "StatusMessage": self.message, "StartTime": self.started_s}


@dataclass(frozen=True)
class Progress:
    """A deployment that is under way."""

    config: Mapping[str, Any]
    """The new endpoint configuration."""
    stage: Stage
    started_s: float = field(default_factory=time.time)

    def describe(self, version: Version | None) -> dict[str, Any]:
        """Return the `PendingDeploymentSummary`; `version` is what runs of it already."""
        running = {
            variant.name: variant.describe() for variant in (version.list_all() if version else ())
        }
        summary: dict[str, Any] = {
            "EndpointConfigName": self.config["EndpointConfigName"],
            "StartTime": self.started_s,
        }
        for member in ("ProductionVariants", "ShadowProductionVariants"):
            if member in self.config:
                summary[member] = [
                    self._describe_variant(variant, running.get(variant["VariantName"], {}))
                    for variant in self.config[member]
                ]
        return summary

    def _describe_variant(
        self, variant: Mapping[str, Any], running: Mapping[str, Any]
    ) -> dict[str, Any]:
        weight = variant.get("InitialVariantWeight", 1.0)
        found = {
            "VariantName": variant["VariantName"],
            "CurrentWeight": weight,
            "DesiredWeight": weight,
            "CurrentInstanceCount": running.get("CurrentInstanceCount", 0),
            "VariantStatus": [self.stage.describe()],
        }
        if "ServerlessConfig" in variant:
            return {**found, "DesiredServerlessConfig": variant["ServerlessConfig"]}
        count = variant.get("InitialInstanceCount", 1)
        found["DesiredInstanceCount"] = count
        if "InstanceType" in variant:
            found["InstanceType"] = variant["InstanceType"]
        return found
