"""Starts the containers of a model: its data, its environment, its port, its limits."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from container import contract
from local_test import identity
from local_test.data import models
from local_test.endpoints.multi_model import ModelCache
from local_test.endpoints.server import Limits, Server
from local_test.endpoints.variants.replica import Place, Replica
from local_test.requests.model_containers import ModelContainer, list_containers
from local_test.runners.interface import Launch, Runner
from local_test.runners.log_lines import OnLine


@dataclass(frozen=True)
class Starter:
    """Starts the servers of one model."""

    model: Mapping[str, Any]
    """Its CreateModel request."""
    runner: Runner
    directory: Path
    """Each container has a directory of its own in it."""
    on_line: OnLine
    limits: Limits
    variant: str = ""
    """What answers name as theirs."""
    config: str = ""
    """Name of the endpoint configuration."""
    suffix: str = ""
    """Of the names of directories."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that come before the model's own."""
    restrictions: Mapping[str, Any] = field(default_factory=dict)
    """More fields of `Launch`, such as `memory_bytes`."""
    take_truncation: Callable[[], bool] = lambda: False
    """Return whether the next model archive is to be truncated."""

    def start_replica(self, name: str) -> Replica:
        """Start every container of the model; none runs if one cannot be started.

        Raises: UserError, PlatformError.
        """
        replica = Replica(name, self.model, config=self.config)
        try:
            for container in list_containers(self.model):
                replica.places.append(self.start(name, container))
        except BaseException:
            for server in replica.servers:
                server.remove()
            raise
        return replica

    def start(self, name: str, container: ModelContainer) -> Place:
        """Start one container; its name is that of the replica, and its own if it has one.

        Raises: UserError, PlatformError.
        """
        host = f"{name}.{container.name}" if container.name else name
        layout = contract.Layout(self.directory / f"{host}{self.suffix}")
        launch = self._describe(host, container, layout)
        if container.is_multi_model:
            layout.models.mkdir(parents=True, exist_ok=True)
        elif not layout.model.exists():  # a server that is started again finds it there
            models.deliver(container.definition, layout.model, is_truncated=self.take_truncation())
        server = Server(launch, self.runner, self.limits, self.on_line, variant=self.variant)
        if not container.is_multi_model:
            return Place(container, server)
        cache = ModelCache(
            server.client,
            models.find_uri(container.definition),
            layout.models,
            f"{self.runner.mount_point(layout.base)}/models",
        )
        return Place(container, server, cache)

    def _describe(self, host: str, container: ModelContainer, layout: contract.Layout) -> Launch:
        is_isolated = self.model.get("EnableNetworkIsolation", False)
        environment = identity.environment(container.environment, is_isolated=is_isolated)
        environment.update(self.environment)
        read_only = "model"
        if container.is_multi_model:
            read_only = "models"
            environment[contract.MULTI_MODEL_VARIABLE] = "true"
        names = [item.name for item in list_containers(self.model)]
        if container.name:  # on the platform, they share an address
            port = contract.DEFAULT_PORT + names.index(container.name)
            environment[contract.BIND_TO_PORT_VARIABLE] = str(port)
        return Launch(
            name=host,
            image=container.image,
            arguments=("serve",),
            root=layout.base,
            environment=environment,
            read_only=(read_only,),
            is_server=True,
            is_multi_model=container.is_multi_model,
            is_one_of_several=len(names) > 1,
            is_isolated=is_isolated,
            **self.restrictions,
        )


def await_health(replicas: Sequence[Replica]) -> float:
    """Wait until every server is healthy; return the longest time that one took, in seconds.

    Raises: UserError if one does not become healthy, or does not list its models (MME-3).
    """
    longest_s = 0.0
    for replica in replicas:
        for place in replica.places:
            longest_s = max(longest_s, place.server.wait_until_healthy())
            if place.cache is not None:
                place.cache.check_list_api()
    return longest_s
