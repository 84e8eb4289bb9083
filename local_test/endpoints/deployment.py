"""The servers of an endpoint: those of each version, how they start, and how they are replaced."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from container.errors import RequestError
from local_test.endpoints.invocation import ReplacedError, Stream, VariantError
from local_test.endpoints.server import Limits, Server, stop_all
from local_test.endpoints.variants import routing
from local_test.endpoints.variants.component_routing import TARGET_VARIANT, Hosted, route
from local_test.endpoints.variants.replica import Place, Replica
from local_test.endpoints.variants.routing import Lane
from local_test.endpoints.variants.sessions import SESSION
from local_test.endpoints.variants.variant import Patience, Variant
from local_test.endpoints.variants.version import Progress, Version
from local_test.endpoints.variants.version_starter import VersionStarter


class _HeldParts(Iterator[bytes]):
    """The parts of a stream, which give something back at their end, or when nobody reads them."""

    def __init__(self, parts: Iterator[bytes], kept: contextlib.ExitStack) -> None:
        self._parts = parts
        self._kept = kept

    def __next__(self) -> bytes:
        try:
            return next(self._parts)
        except BaseException:
            self._kept.close()
            raise

    def __del__(self) -> None:
        self._kept.close()


class Deployment:
    """The servers of an endpoint's current version, and of the one that is being deployed.

    Callers hold `changing` while they change which servers there are.
    """

    def __init__(self, starter: VersionStarter, limits: Limits) -> None:
        self.starter = starter
        self.limits = limits
        self.current = Version()
        self.pending: Version | None = None
        """What is being deployed."""
        self.leftover = Version()
        """What is left of a deployment that could not be rolled back; it answers requests, too."""
        self.lanes: tuple[Lane, ...] = ()
        """Where requests go."""
        self.progress: Progress | None = None
        """Of the deployment that is under way."""
        self.list_components: Callable[[], Mapping[str, Hosted]] = dict
        """Return the inference components of the endpoint by name."""
        self.changing = threading.Lock()

    def servers(self) -> list[Server]:
        """Return the servers of all variants."""
        return [server for variant in self._list_all() for server in variant.servers]

    def _list_all(self) -> list[Variant]:
        versions = (self.current, self.pending or Version(), self.leftover)
        return [variant for version in versions for variant in version.list_all()]

    def monitored_servers(self) -> list[Server]:
        """Return the servers that are pinged, and replaced when they exit."""
        variants = [variant for variant in self._list_all() if variant.is_monitored]
        return [server for variant in variants for server in variant.servers]

    def count_instances(self) -> dict[str, int]:
        """Return how many healthy instances of each production variant take requests."""
        found = dict.fromkeys((variant.name for variant in self.current.variants), 0)
        for variant in (variant for lane in self.lanes for variant in lane.variants):
            healthy = sum(replica.is_healthy for replica in variant.replicas)
            found[variant.name] = found.get(variant.name, 0) + healthy
        return found

    def copy(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Send a copy of a request to the shadow variant, if there is one."""
        shadow = self.current.shadow  # read once, since a deployment may replace it now
        if shadow is not None:
            shadow.copy(body, headers)

    def describe(self) -> dict[str, list[dict[str, Any]]]:
        """Return the members of the answer to DescribeEndpoint that list variants."""
        found = {"ProductionVariants": [item.describe() for item in self.current.variants]}
        if self.current.shadow is not None:
            found["ShadowProductionVariants"] = [self.current.shadow.variant.describe()]
        return found

    def describe_pending(self) -> dict[str, Any] | None:
        """Return the `PendingDeploymentSummary`, if a deployment is under way."""
        progress = self.progress
        return None if progress is None else progress.describe(self.pending)

    def summarize(self) -> dict[str, dict[str, str]]:
        """Return what the console shows of each variant, by name."""
        current = self.current
        found = {variant.name: variant.summarize() for variant in current.variants}
        if current.shadow is not None:
            found[current.shadow.variant.name] = current.shadow.summarize()
        return found

    def choose(self, headers: Mapping[str, str]) -> Variant:
        """Return the variant, or the copies of the inference component, that answers a request.

        Raises: RequestError 400 if the request names one that does not exist.
        """
        session = headers.get(SESSION, "")
        holders = [
            variant
            for lane in self.lanes
            for variant in lane.variants
            if session and TARGET_VARIANT not in headers and variant.find_session(session)
        ]
        chosen = holders[0] if holders else self.choose_variant(headers.get(TARGET_VARIANT))
        return route(chosen, self.list_components, headers)

    def choose_variant(self, target: str | None) -> Variant:
        """Return the variant named `target`, or one by weight.

        Raises: RequestError 400 if the variant does not exist, or all weights are 0.
        """
        return routing.choose(self.lanes, target)

    @contextlib.contextmanager
    def lease(self, variant: Variant, headers: Mapping[str, str]) -> Iterator[Replica]:
        """Yield a replica of a variant for one request.

        If the variant was replaced meanwhile, another one is chosen as `choose` does.

        Raises: VariantError.
        """
        try:
            with contextlib.ExitStack() as stack:
                while True:
                    try:
                        replica = stack.enter_context(variant.lease(headers.get(SESSION, "")))
                        break
                    except ReplacedError:
                        variant = self.choose(headers)
                yield replica
        except RequestError as error:
            raise VariantError(error, variant.name, variant.starter.config) from error

    def stream(self, variant: Variant, headers: Mapping[str, str], body: bytes) -> Stream:
        """Open a response stream as `lease` chooses its replica, which it holds to its end.

        Raises: VariantError.
        """
        with contextlib.ExitStack() as stack:
            replica = stack.enter_context(self.lease(variant, headers))
            found = replica.stream(body, headers)
            kept = stack.pop_all()
        return replace(found, parts=_HeldParts(found.parts, kept), config=replica.config)

    def route(self, shares: Mapping[str, float]) -> None:
        """Give the version that is being deployed a share of the requests, by variant.

        It gets all of them if the current one has no instance.
        """
        fresh = (self.pending or Version()).variants
        if min(shares.values()) >= 1 or not any(item.replicas for item in self.current.variants):
            self.lanes = (Lane(fresh),)
            return
        rest = {name: 1 - share for name, share in shares.items()}
        self.lanes = (Lane(self.current.variants, rest), Lane(fresh, shares))

    def take_over(self, version: Version) -> list[Version]:
        """Make a version the current one; return what it replaces, for `retire`."""
        old = [self.current, self.leftover]
        self.current = version
        self.pending = None
        self.leftover = Version()
        self.lanes = (Lane(version.variants),)
        return old

    def retire(self, versions: Sequence[Version], has_ended: Callable[[], bool]) -> None:
        """Stop versions that get no more requests, after their last ones have been answered.

        `has_ended` returns True if nothing is to be waited for.
        """
        for version in versions:
            version.close()
        patience = Patience(self._patience_s, has_ended)
        for version in versions:
            version.drain(patience)
        stop_all([server for version in versions for server in version.servers()])

    @property
    def _patience_s(self) -> float:
        """The longest time that a request may take."""
        return max(self.limits.invocation_s, self.limits.stream_s)

    def close(self) -> list[Server]:
        """Let nothing start from now on; return the servers that there are."""
        self.lanes = ()
        for version in (self.current, self.pending or Version(), self.leftover):
            version.close()
        return self.servers()

    def resize(
        self, variant: Variant, count: int, has_ended: Callable[[], bool] = lambda: False
    ) -> None:
        """Start or stop replicas of a variant until there are `count`.

        Those that are stopped answer their last requests before, unless `has_ended` returns True.

        Raises: UserError if a new server does not become healthy; none is added then.
        """
        added: list[Replica] = []
        try:
            for _ in range(count - len(variant.replicas)):
                added.append(variant.start_replica())  # noqa: PERF401 - kept if a later one fails
            self.starter.await_health(added)
        except BaseException:
            stop_all([server for replica in added for server in replica.servers])
            raise
        surplus = variant.keep(count)
        variant.replicas = [*variant.replicas, *added]
        variant.wait_for_requests(surplus, Patience(self._patience_s, has_ended))
        stop_all([server for replica in surplus for server in replica.servers])

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
            self.starter.await_health([Replica(replica.name, replica.model, [fresh])])
        except BaseException:
            stop_all([fresh.server])
            raise
        return fresh
