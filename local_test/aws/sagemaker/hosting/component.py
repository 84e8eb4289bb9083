"""An inference component: its life from creation to deletion (IC-1).

Its copies are the replicas of a deployment of its own. So they are replaced by a new version, and
when they exit, as the servers of an endpoint are.
"""

from pathlib import Path
from typing import Final

from local_test import container_files
from local_test.aws.account.records import CopiedRequests
from local_test.endpoints.deployment import Deployment
from local_test.endpoints.health import HealthMonitor
from local_test.endpoints.server import Limits, stop_all
from local_test.endpoints.variants.copies import REQUIREMENTS
from local_test.endpoints.variants.variant import Variant
from local_test.endpoints.variants.version import Version
from local_test.endpoints.variants.version_starter import VersionStarter
from local_test.requests.endpoint_requests import EndpointRequests
from local_test.runners.interface import Runner
from local_test.runners.log_lines import OnLine

_STARTUP: Final = "ContainerStartupHealthCheckTimeoutInSeconds"


def make_requests(variant: str, copied: CopiedRequests) -> EndpointRequests:
    """Return requests of an endpoint whose only variant is the copies of a component."""
    specification = copied["specification"]
    startup = specification.get("StartupParameters", {})
    name = copied["model"]["ModelName"]
    description = {
        "VariantName": variant,
        "ModelName": name,
        "InitialInstanceCount": copied["copies"],
        REQUIREMENTS: specification[REQUIREMENTS],
        **{key: startup[key] for key in (_STARTUP,) if key in startup},
    }
    config = {"EndpointConfigName": "", "ProductionVariants": [description]}
    return EndpointRequests({name: copied["model"]}, config, {})


class Component:
    """One inference component of an endpoint."""

    def __init__(
        self, name: str, endpoint: str, runner: Runner, directory: Path, on_line: OnLine
    ) -> None:
        """`directory` is the component's own: `start` removes the servers' directories in it."""
        self.name = name
        self.endpoint = endpoint
        """Name of the endpoint by which requests reach it."""
        self._directory = directory
        limits = Limits()
        starter = VersionStarter(directory, runner, limits, on_line, take_truncation=lambda: False)
        self._deployment = Deployment(starter, limits)
        self._monitor = HealthMonitor(name, self._deployment, on_line)

    @property
    def variant(self) -> Variant | None:
        """Its copies; None before they have been in service."""
        return next(iter(self._deployment.current.variants), None)

    def start(self, requests: EndpointRequests) -> None:
        """Start all copies and wait until every one is healthy; `make_requests` makes `requests`.

        Raises: UserError if one does not become healthy; nothing is left running then.
        """
        container_files.remove_tree(self._directory / "hosts")
        self._directory.mkdir(parents=True, exist_ok=True)
        with self._deployment.changing:
            self._replace(requests)
        self._monitor.start()

    def update(self, requests: EndpointRequests) -> None:
        """Replace all copies by those of a new specification, without a gap.

        Raises: UserError if a new one does not become healthy; the old ones stay in service.
        """
        with self._deployment.changing:
            old = self._replace(requests)
        self._deployment.retire(old, self._monitor.ended.is_set)

    def _replace(self, requests: EndpointRequests) -> list[Version]:
        """Start the copies of a specification, and let them answer the requests."""
        return self._deployment.take_over(self._deployment.starter.start(requests))

    def set_copy_count(self, count: int) -> None:
        """Start or stop copies while the others stay in service.

        Raises: UserError if a new one does not become healthy; none is added then.
        """
        variant = self.variant
        if variant is not None:
            with self._deployment.changing:
                self._deployment.resize(variant, count, self._monitor.ended.is_set)

    def count_copies(self) -> int:
        """Return how many copies are healthy."""
        variant = self.variant
        return sum(copy.is_healthy for copy in variant.replicas) if variant else 0

    def stop(self) -> None:
        """Stop all copies; those that are starting are killed."""
        self._monitor.ended.set()
        self._deployment.starter.abandon()
        with self._deployment.changing:
            stop_all(self._deployment.close())
