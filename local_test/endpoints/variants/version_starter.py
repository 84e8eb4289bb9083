"""Starts the servers of an endpoint configuration, and waits until they are healthy."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from local_test.endpoints.server import Limits, Server, stop_all
from local_test.endpoints.variants import copies, serverless
from local_test.endpoints.variants.copies import Copies
from local_test.endpoints.variants.replica import Replica
from local_test.endpoints.variants.serverless import ServerlessVariant
from local_test.endpoints.variants.shadow import OnCopy, Shadow
from local_test.endpoints.variants.shared_instances import SharedInstances
from local_test.endpoints.variants.starter import Starter, await_health
from local_test.endpoints.variants.variant import Variant
from local_test.endpoints.variants.version import Version
from local_test.requests.endpoint_requests import EndpointRequests
from local_test.requests.variant_rules import list_variants
from local_test.runners.interface import Runner
from local_test.runners.log_lines import OnLine


class VersionStarter:
    """Starts the versions of one endpoint."""

    def __init__(
        self,
        directory: Path,
        runner: Runner,
        limits: Limits,
        on_line: OnLine,
        take_truncation: Callable[[], bool],
    ) -> None:
        """`take_truncation` returns whether the next model archive is to be truncated."""
        self.on_copy: OnCopy = lambda *_: None
        self.startup_s = 0.0
        """The longest time that a server took to become healthy."""
        self._directory = directory
        self._runner = runner
        self._limits = limits
        self._on_line = on_line
        self._take_truncation = take_truncation
        self._starting: list[Server] = []
        self._is_abandoned = False
        self._numbers = itertools.count(1)

    def start(self, requests: EndpointRequests, count: int | None = None) -> Version:
        """Start the servers of a configuration; they get no requests yet.

        `count` is the number of instances if it is not that of the configuration.

        Raises: UserError if a server does not become healthy; all of them are stopped then.
        """
        number = next(self._numbers)
        variants: list[Variant] = []
        begun: list[Replica] = []
        try:
            for description in list_variants(requests.config):
                model = requests.find_model(description)
                config = requests.config["EndpointConfigName"]
                variant = self._make_variant(description, model, config, number)
                variants.append(variant)
                begun += variant.begin(count)
            self.await_health(begun)
        except BaseException:
            stop_all([server for variant in variants for server in variant.servers])
            raise
        production = len(requests.config["ProductionVariants"])
        shadow = self._make_shadow(variants[production:], variants[0])
        version = Version(variants[:production], shadow)
        version.enter_service()
        return version

    def _make_shadow(self, variants: Sequence[Variant], production: Variant) -> Shadow | None:
        if not variants:
            return None
        (variant,) = variants
        return Shadow(variant, variant.weight / production.weight, self.on_copy)

    def _make_variant(
        self, description: Mapping[str, Any], model: Mapping[str, Any], config: str, number: int
    ) -> Variant:
        asked_s = description.get("ContainerStartupHealthCheckTimeoutInSeconds")
        startup_s = min(asked_s or self._limits.startup_s, self._limits.startup_s)
        limits = replace(self._limits, startup_s=startup_s)
        restrictions: dict[str, Any] = {}
        kind: type[Variant] = Variant
        if "ServerlessConfig" in description:
            kind = ServerlessVariant
            limits = serverless.limit(limits)
            restrictions = serverless.restrict(description["ServerlessConfig"])
        elif "ModelName" not in description:
            kind = SharedInstances
        elif copies.REQUIREMENTS in description:
            kind = Copies
            restrictions = copies.restrict(description[copies.REQUIREMENTS])
        starter = Starter(
            model=model,
            runner=self._runner,
            directory=self._directory / "hosts",
            on_line=self._on_line,
            limits=limits,
            variant=description["VariantName"],
            config=config,
            suffix=f"-v{number}" if number > 1 else "",
            restrictions={"instance_type": description.get("InstanceType", ""), **restrictions},
            take_truncation=self._take_truncation,
        )
        return kind(description, starter, description.get("InitialVariantWeight", 1.0))

    def await_health(self, replicas: Sequence[Replica]) -> None:
        """Wait until all servers are healthy. Raises: UserError if one does not become healthy."""
        self._starting = [server for replica in replicas for server in replica.servers]
        if self._is_abandoned:
            self.abandon()
        try:
            self.startup_s = max(self.startup_s, await_health(replicas))
        finally:
            self._starting = []

    def abandon(self) -> None:
        """Kill the servers that somebody waits for, so that the wait ends; none begins again."""
        self._is_abandoned = True
        for server in self._starting:
            server.container.kill()
