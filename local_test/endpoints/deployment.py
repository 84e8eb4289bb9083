"""The servers of an endpoint: those of each variant, how they start, and how they are replaced."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from container.errors import RequestError
from local_test.endpoints.server import Limits, Server
from local_test.endpoints.variants import serverless
from local_test.endpoints.variants.replica import Place, Replica
from local_test.endpoints.variants.serverless import ServerlessVariant
from local_test.endpoints.variants.shadow import OnCopy, Shadow
from local_test.endpoints.variants.starter import Starter, await_health
from local_test.endpoints.variants.variant import Variant
from local_test.requests.endpoint_requests import EndpointRequests
from local_test.requests.variant_rules import list_variants
from local_test.runners.interface import Runner
from local_test.runners.log_lines import OnLine


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
        self.shadow: Shadow | None = None
        self.on_copy: OnCopy = lambda *_: None
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
        return [server for variant in self._list_all() for server in variant.servers]

    def _list_all(self) -> list[Variant]:
        if self.shadow is None:
            return self.variants
        return [*self.variants, self.shadow.variant]

    def monitored_servers(self) -> list[Server]:
        """Return the servers that are pinged, and replaced when they exit."""
        variants = [variant for variant in self._list_all() if variant.is_monitored]
        return [server for variant in variants for server in variant.servers]

    def copy(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Send a copy of a request to the shadow variant, if there is one."""
        if self.shadow is not None:
            self.shadow.copy(body, headers)

    def describe(self) -> dict[str, list[dict[str, Any]]]:
        """Return the members of the answer to DescribeEndpoint that list variants."""
        found = {"ProductionVariants": [item.describe() for item in self.variants]}
        if self.shadow is not None:
            found["ShadowProductionVariants"] = [self.shadow.variant.describe()]
        return found

    def summarize(self) -> dict[str, dict[str, str]]:
        """Return what the console shows of each variant, by name."""
        found = {variant.name: variant.summarize() for variant in self.variants}
        if self.shadow is not None:
            found[self.shadow.variant.name] = self.shadow.summarize()
        return found

    def loaded_models(self) -> dict[str, list[str]]:
        """Return the loaded targets of each multi-model server, the least recently used first."""
        return {
            place.server.name: place.cache.loaded
            for variant in self.variants
            for replica in variant.replicas
            for place in replica.places
            if place.cache is not None
        }

    def choose_variant(self, target: str | None) -> Variant:
        """Return the variant named `target`, or one by weight.

        Raises: RequestError 400 if the variant does not exist.
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
        version = next(self._versions)
        variants: list[Variant] = []
        begun: list[Replica] = []
        try:
            for description in list_variants(requests.config):
                model = requests.models[description["ModelName"]]
                variant = self._make_variant(description, model, version)
                variants.append(variant)
                begun += variant.begin()
            self._await_health(begun)
        except BaseException:
            self.stop([server for variant in variants for server in variant.servers])
            raise
        for variant in variants:
            variant.enter_service()
        old = self._list_all()
        old_shadow = self.shadow
        count = len(requests.config["ProductionVariants"])
        self.shadow = self._make_shadow(variants[count:], variants[0])
        self.variants = variants[:count]
        return self._close(old, old_shadow)

    def _make_shadow(self, variants: Sequence[Variant], production: Variant) -> Shadow | None:
        if not variants:
            return None
        (variant,) = variants
        return Shadow(variant, variant.weight / production.weight, self.on_copy)

    def close(self) -> list[Server]:
        """Let nothing start from now on; return the servers that there are."""
        return self._close(self._list_all(), self.shadow)

    def _close(self, variants: Sequence[Variant], shadow: Shadow | None) -> list[Server]:
        if shadow is not None:
            shadow.close()
        for variant in variants:
            variant.close()
        return [server for variant in variants for server in variant.servers]

    def resize(self, variant: Variant, count: int) -> None:
        """Start or stop replicas of a variant until there are `count`.

        Raises: UserError if a new server does not become healthy; none is added then.
        """
        added: list[Replica] = []
        try:
            for _ in range(count - len(variant.replicas)):
                added.append(variant.start_replica())  # noqa: PERF401 - kept if a later one fails
            self._await_health(added)
        except BaseException:
            self.stop([server for replica in added for server in replica.servers])
            raise
        surplus = variant.replicas[count:]
        variant.replicas = [*variant.replicas[:count], *added]
        self.stop([server for replica in surplus for server in replica.servers])

    def replace(self, dead: Server) -> None:
        """Start a server in the place of one that has exited (HO-12).

        Raises: UserError, PlatformError if the new one does not become healthy.
        """
        for variant in self._list_all():
            for replica in variant.replicas:
                for index, place in enumerate(replica.places):
                    if place.server is dead:
                        replica.places[index] = self._start_again(variant, replica, place)
                        dead.remove()

    def _start_again(self, variant: Variant, replica: Replica, dead: Place) -> Place:
        fresh = variant.start_again(dead)
        try:
            self._await_health([Replica(replica.name, replica.model, [fresh])])
        except BaseException:
            self.stop([fresh.server])
            raise
        return fresh

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

    def _make_variant(
        self, description: Mapping[str, Any], model: Mapping[str, Any], version: int
    ) -> Variant:
        asked_s = description.get("ContainerStartupHealthCheckTimeoutInSeconds")
        startup_s = min(asked_s or self.limits.startup_s, self.limits.startup_s)
        limits = replace(self.limits, startup_s=startup_s)
        restrictions: dict[str, Any] = {}
        kind: type[Variant] = Variant
        if "ServerlessConfig" in description:
            kind = ServerlessVariant
            limits = serverless.limit(limits)
            restrictions = serverless.restrict(description["ServerlessConfig"])
        starter = Starter(
            model=model,
            runner=self._runner,
            directory=self._directory / "hosts",
            on_line=self._on_line,
            limits=limits,
            variant=description["VariantName"],
            suffix=f"-v{version}" if version > 1 else "",
            restrictions=restrictions,
            take_truncation=self._take_truncation,
        )
        return kind(description, starter, description.get("InitialVariantWeight", 1.0))

    def _await_health(self, replicas: Sequence[Replica]) -> None:
        self._starting = [server for replica in replicas for server in replica.servers]
        try:
            self.startup_s = max(self.startup_s, await_health(replicas))
        finally:
            self._starting = []
