"""The servers of an endpoint: those of each variant, how they start, and how they are replaced."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from container import contract
from container.errors import RequestError
from local_test import identity
from local_test.data import models
from local_test.endpoints.invocation import Answer
from local_test.endpoints.multi_model import ModelCache
from local_test.endpoints.server import Limits, Server
from local_test.requests.endpoint_requests import EndpointRequests
from local_test.runners.interface import Launch, Runner
from local_test.runners.log_lines import OnLine


@dataclass
class Variant:
    """A production variant and its servers."""

    description: Mapping[str, Any]
    """Its entry in CreateEndpointConfig."""
    model: Mapping[str, Any]
    """Its CreateModel request."""
    weight: float
    version: int
    """Number of the configuration that it belongs to."""
    servers: list[Server] = field(default_factory=list)
    caches: dict[Server, ModelCache] = field(default_factory=dict)
    """By server, for a multi-model variant."""
    _turns: itertools.count[int] = field(default_factory=itertools.count)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def name(self) -> str:
        """The variant's name."""
        return str(self.description["VariantName"])

    @property
    def container(self) -> Mapping[str, Any]:
        """The model's container definition."""
        container: Mapping[str, Any] = self.model.get("PrimaryContainer", {})
        return container

    @property
    def is_multi_model(self) -> bool:
        """Whether requests name their model (MME-1)."""
        return bool(self.container.get("Mode") == "MultiModel")

    def next_server(self) -> Server | None:
        """Return the healthy servers in turn, None if there are none."""
        healthy = [server for server in self.servers if server.is_healthy]
        if not healthy:
            return None
        return healthy[next(self._turns) % len(healthy)]

    def next_server_name(self) -> str:
        """Return a name that no earlier server of this variant had."""
        return f"{self.name}-{next(self._numbers)}"

    def invoke_model(
        self, server: Server, target: str | None, body: bytes, headers: Mapping[str, str]
    ) -> Answer:
        """Pass a request to the model that it names, which is loaded if necessary.

        Raises: RequestError 400 if it names none, or one that does not exist.
        """
        if target is None:
            raise RequestError(400, "a multi-model endpoint needs TargetModel (MME-5)")
        cache = self.caches[server]
        answer = server.client.post(cache.path_of(target), body, headers)
        if answer.status == 404:  # the container has unloaded it by itself (MME-5)
            cache.forget(target)
            answer = server.client.post(cache.path_of(target), body, headers)
        if self.container.get("MultiModelConfig", {}).get("ModelCacheSetting") == "Disabled":
            cache.unload(target)  # MME-6
        return answer


class Deployment:
    """The servers of an endpoint's current configuration.

    Callers hold `changing` while they change which servers there are.
    """

    def __init__(
        self,
        directory: Path,
        runner: Runner,
        limits: Limits,
        on_line: OnLine,
        take_truncation: Callable[[], bool],
    ) -> None:
        """`take_truncation` returns whether the next model archive is to be truncated."""
        self.limits = limits
        self.variants: list[Variant] = []
        self.changing = threading.Lock()
        self.startup_s = 0.0
        """The longest time that a server took to become healthy."""
        self._directory = directory
        self._runner = runner
        self._on_line = on_line
        self._take_truncation = take_truncation
        self._starting: list[Server] = []
        self._versions = itertools.count(1)

    def servers(self) -> list[Server]:
        """Return the servers of all variants."""
        return [server for variant in self.variants for server in variant.servers]

    def choose_variant(self, target: str | None) -> Variant:
        """Return the variant named `target`, or one by weight.

        Raises: RequestError 400 if there is no such variant.
        """
        if target is None and len(self.variants) == 1:
            return self.variants[0]
        if target is None:
            weights = [variant.weight for variant in self.variants]
            return random.choices(self.variants, weights)[0]  # noqa: S311 - traffic, not a secret
        for variant in self.variants:
            if variant.name == target:
                return variant
        names = ", ".join(variant.name for variant in self.variants)
        message = f"variant {target!r} does not exist; choose one of {names}"
        raise RequestError(400, message)

    def switch(self, requests: EndpointRequests) -> list[Server]:
        """Start the servers of a configuration, let them take over, and return the old ones.

        Raises: UserError if a server does not become healthy; the old ones stay in service then,
        and the new ones are stopped.
        """
        old = self.servers()
        version = next(self._versions)
        variants: list[Variant] = []
        try:
            for description in requests.config["ProductionVariants"]:
                weight = description.get("InitialVariantWeight", 1.0)
                model = requests.models[description["ModelName"]]
                variant = Variant(description, model, weight, version)
                variants.append(variant)
                for _ in range(description.get("InitialInstanceCount", 1)):
                    variant.servers.append(self._start_server(variant))
            for variant in variants:
                self._wait_until_healthy(variant, variant.servers)
        except BaseException:
            self.stop([server for variant in variants for server in variant.servers])
            raise
        self.variants = variants
        return old

    def resize(self, variant: Variant, count: int) -> None:
        """Start or stop servers of a variant until there are `count`.

        Raises: UserError if a new server does not become healthy; none is added then.
        """
        missing = count - len(variant.servers)
        if missing > 0:
            added = [self._start_server(variant) for _ in range(missing)]
            self._wait_until_healthy(variant, added)
            variant.servers = [*variant.servers, *added]
        elif missing < 0:
            surplus = variant.servers[count:]
            variant.servers = variant.servers[:count]
            self.stop(surplus)

    def replace(self, dead: Server) -> None:
        """Start a server in the place of one that has exited (HO-12).

        Raises: UserError, PlatformError if the new one does not become healthy.
        """
        for variant in self.variants:
            if dead not in variant.servers:
                continue
            fresh = self._start_server(variant)
            self._wait_until_healthy(variant, [fresh])
            variant.servers = [fresh if server is dead else server for server in variant.servers]
            variant.caches.pop(dead, None)
            dead.container.remove()

    def stop(self, servers: Sequence[Server]) -> list[str]:
        """Stop servers in parallel; return a finding for each that had to be killed (HO-10)."""
        findings: list[str] = []

        def stop(server: Server) -> None:
            if server.stop():
                grace_s = self.limits.stop_grace_s
                findings.append(f"{server.name} was killed {grace_s:g} s after SIGTERM (HO-10)")

        threads = [threading.Thread(target=stop, args=(server,)) for server in servers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return findings

    def abandon_start(self) -> None:
        """Kill the servers that somebody waits for, so that the wait ends."""
        for server in self._starting:
            server.container.kill()

    def _start_server(self, variant: Variant) -> Server:
        name = variant.next_server_name()
        host = name if variant.version == 1 else f"{name}-v{variant.version}"
        layout = contract.Layout(self._directory / "hosts" / host)
        is_isolated = variant.model.get("EnableNetworkIsolation", False)
        environment = identity.environment(
            variant.container.get("Environment", {}), is_isolated=is_isolated
        )
        if variant.is_multi_model:
            read_only = "models"
            layout.models.mkdir(parents=True)
            environment[contract.MULTI_MODEL_VARIABLE] = "true"
        else:
            read_only = "model"
            models.deliver(variant.container, layout.model, is_truncated=self._take_truncation())
        launch = Launch(
            name=name,
            arguments=("serve",),
            root=layout.base,
            environment=environment,
            read_only=(read_only,),
            is_server=True,
            is_multi_model=variant.is_multi_model,
            is_isolated=is_isolated,
        )
        asked_s = variant.description.get("ContainerStartupHealthCheckTimeoutInSeconds")
        startup_s = min(asked_s or self.limits.startup_s, self.limits.startup_s)
        limits = replace(self.limits, startup_s=startup_s)
        server = Server(launch, self._runner, limits, self._on_line, variant=variant.name)
        if variant.is_multi_model:
            variant.caches[server] = ModelCache(
                server.client,
                models.find_uri(variant.container),
                layout.models,
                f"{self._runner.mount_point(layout.base)}/models",
            )
        return server

    def _wait_until_healthy(self, variant: Variant, servers: list[Server]) -> None:
        self._starting = servers
        try:
            for server in servers:
                self.startup_s = max(self.startup_s, server.wait_until_healthy())
                if variant.is_multi_model:
                    variant.caches[server].check_list_api()
        except BaseException:
            self.stop(servers)
            raise
        finally:
            self._starting = []
