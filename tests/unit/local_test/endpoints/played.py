"""Versions of an endpoint whose servers are played."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any, cast

from container.errors import UserError
from local_test.endpoints.deployment import Deployment
from local_test.endpoints.server import Limits
from local_test.endpoints.variants.replica import Place, Replica
from local_test.endpoints.variants.variant import Variant
from local_test.endpoints.variants.version import Version
from local_test.endpoints.variants.version_starter import VersionStarter


class PlayedStarter:
    """Starts versions at once, and remembers what was started and stopped, in order."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.failing = ""
        """The configuration whose servers do not become healthy from now on."""
        self.startup_s = 0.0

    def start(self, requests: Any, count: int | None = None) -> Version:
        """Start the instances of a configuration, or `count` of them."""
        config = requests.config["EndpointConfigName"]
        variants = []
        for description in requests.config["ProductionVariants"]:
            starter = SimpleNamespace(
                config=config,
                start_replica=lambda name, config=config: self._start(config, name),
            )
            variant = Variant(description, cast("Any", starter), description.get("Weight", 1.0))
            variant.begin(count)
            variants.append(variant)
        return Version(variants)

    def _start(self, config: str, name: str) -> Replica:
        if config == self.failing:
            message = f"{config} is broken"
            raise UserError(message)
        self.events.append(f"start {config} {name}")

        def stop() -> bool:
            self.events.append(f"stop {config} {name}")
            return False

        server = SimpleNamespace(name=name, is_healthy=True, stop=stop)
        return Replica(name, {}, [Place(cast("Any", None), cast("Any", server))], config=config)

    def await_health(self, replicas: Any) -> None:
        """All of them are healthy."""


def make_config(name: str, **counts: int) -> dict[str, Any]:
    variants = [
        {"VariantName": variant, "ModelName": "m", "InitialInstanceCount": count}
        for variant, count in counts.items()
    ]
    return {"EndpointConfigName": name, "ProductionVariants": variants}


def make_deployment(**counts: int) -> tuple[Deployment, PlayedStarter]:
    """Return a deployment in service with configuration `old`."""
    starter = PlayedStarter()
    deployment = Deployment(cast("VersionStarter", starter), Limits(invocation_s=5, stream_s=5))
    requests = SimpleNamespace(config=make_config("old", **counts))
    deployment.take_over(starter.start(requests))
    return deployment, starter


class PlayedTime(threading.Event):
    """The end of an endpoint, and the time: waiting for the end lets the time pass at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.plans: list[tuple[float, Any]] = []
        """What happens at a time, once."""

    def clock(self) -> float:
        """Return the time in seconds."""
        return self.now_s

    def wait(self, timeout: float | None = None) -> bool:
        """Let the time pass."""
        assert timeout is not None
        assert timeout > 0
        self.now_s += timeout
        due = [plan for plan in self.plans if plan[0] <= self.now_s]
        self.plans = [plan for plan in self.plans if plan not in due]
        for _, happen in due:
            happen()
        return self.is_set()
