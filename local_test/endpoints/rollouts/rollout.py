"""A deployment of a new version: traffic moves to it in steps, and back if something is wrong.

A blue/green deployment starts the entire new fleet, and stops the old one at the end. A rolling one
starts a batch of the new fleet in each step, and stops as many of the old one.
"""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace

from container.errors import PlatformError, UserError
from local_test.endpoints.deployment import Deployment
from local_test.endpoints.rollouts.guard import Guard, RollbackFailedError, StoppedError, Terms
from local_test.endpoints.variants.variant import Variant
from local_test.endpoints.variants.version import Progress, Stage, Version
from local_test.requests.deployments import plan
from local_test.requests.deployments.plan import Step
from local_test.requests.endpoint_requests import EndpointRequests


class Rollout:
    """One deployment."""

    def __init__(
        self,
        deployment: Deployment,
        requests: EndpointRequests,
        terms: Terms,
        ended: threading.Event,
    ) -> None:
        """Do nothing yet; `ended` is set when the endpoint is to end."""
        self._deployment = deployment
        self._requests = requests
        self._plan = plan.make_plan(terms.config, requests.config)
        self._guard = Guard(terms, self._plan.alarms, self._plan.timeout_s, ended)
        self._lanes = deployment.lanes
        """Where requests go if the deployment is rolled back."""
        self._before = _count([deployment.current])
        """Instances of the old version before the deployment."""

    def run(self) -> list[Version]:
        """Bring the new version into service; return what it replaces, for `end`.

        Raises: UserError, PlatformError if the new servers do not become healthy, an alarm trips
        or the time is over; the old version has all traffic then. RollbackFailedError if its
        servers cannot be started again: both versions stay in service. StoppedError.
        """
        try:
            if self._plan.is_rolling:
                self._roll()
            else:
                self._shift()
        except StoppedError:
            raise
        except (UserError, PlatformError) as error:
            fresh = self._deployment.pending
            if fresh is not None:
                self._roll_back(error)
                self.end([fresh])
            raise
        with self._change():
            return self._deployment.take_over(self._fresh())

    def end(self, versions: Sequence[Version]) -> None:
        """Stop versions that get no more requests."""
        self._note("Deleting", f"Terminating {_count(versions)} instance(s).")
        self._deployment.retire(versions, self._guard.has_ended)

    def _shift(self) -> None:
        """Start the new fleet, and give it all traffic step by step."""
        self._start(sum(plan.count_instances(self._requests.config).values()))
        for step in self._plan.steps:
            self._turn_on(step)

    def _start(self, instances: int, count: int | None = None) -> None:
        self._note("Creating", f"Launching {instances} instance(s).")
        with self._change():
            self._deployment.pending = self._deployment.starter.start(self._requests, count)

    def _turn_on(self, step: Step) -> None:
        capacity = f"{step.capacity} of {step.instances} instance(s)."
        self._note("ActivatingTraffic", f"Activating traffic on {capacity}")
        self._guard.check()
        with self._change():
            if step.is_full:
                self._guard.note_shifted(is_shifted=True)
            self._deployment.route(step.shares)
        wait = f"Baking for {step.wait_s} seconds ({step.wait_field})"
        self._note("Baking", f"{wait} with traffic enabled on {capacity}")
        self._guard.wait(step.wait_s)

    def _roll(self) -> None:
        """Start the new fleet in batches, and stop as many servers of the old one."""
        (old,) = self._deployment.current.variants
        started = 0
        for step in self._plan.steps:
            (count,) = step.counts.values()
            if not started:
                self._start(count, count)
            else:
                self._note("Creating", f"Launching {count - started} instance(s).")
                self._resize(self._fresh_variant(), count)
            started = count
            self._turn_on(step)
            if self._before and not step.is_full:
                (share,) = step.shares.values()
                left = max(1, self._before - round(self._before * share))
                self._note("Deleting", f"Terminating {len(old.replicas) - left} instance(s).")
                self._resize(old, left)

    def _roll_back(self, cause: Exception) -> None:
        """Give the old version all traffic again. Raises: RollbackFailedError, StoppedError."""
        try:
            if self._plan.is_rolling:
                self._restore_capacity()
        except StoppedError:
            raise
        except (UserError, PlatformError) as error:
            self._deployment.leftover = self._fresh()
            self._deployment.pending = None
            raise RollbackFailedError(
                f"{cause} The rollback failed, and both endpoint configurations stay in service: "
                f"{error}. Update the endpoint again, or delete it."
            ) from error
        with self._change():
            self._guard.note_shifted(is_shifted=False)
            self._deployment.lanes = self._lanes
            self._deployment.pending = None

    def _restore_capacity(self) -> None:
        """Start the old fleet again in batches, and stop as many servers of the new one."""
        (old,) = self._deployment.current.variants
        fresh = self._fresh_variant()
        started = len(fresh.replicas)
        size = self._plan.rollback_size
        batch = self._before if size is None else plan.count(size, self._before)
        while len(old.replicas) < self._before:
            count = min(self._before, len(old.replicas) + batch)
            self._note("Updating", f"Launching {count - len(old.replicas)} instance(s).")
            self._resize(old, count)
            share = count / self._before
            if share < 1:
                with self._change():
                    self._guard.note_shifted(is_shifted=False)
                    self._deployment.route({old.name: 1 - share})
                self._resize(fresh, max(1, round(started * (1 - share))))

    def _resize(self, variant: Variant, count: int) -> None:
        with self._change():
            self._deployment.resize(variant, count, self._guard.has_ended)

    def _fresh(self) -> Version:
        fresh = self._deployment.pending
        if fresh is None:
            raise StoppedError
        return fresh

    def _fresh_variant(self) -> Variant:
        (variant,) = self._fresh().variants
        return variant

    @contextlib.contextmanager
    def _change(self) -> Iterator[None]:
        """Hold the lock while there is something to change.

        Raises: StoppedError if the endpoint is to end.
        """
        with self._deployment.changing:
            self._guard.check_end()
            yield

    def _note(self, status: str, message: str) -> None:
        stage = Stage(status, message)
        known = self._deployment.progress or Progress(self._requests.config, stage)
        self._deployment.progress = replace(known, stage=stage)


def _count(versions: Sequence[Version]) -> int:
    variants = [variant for version in versions for variant in version.variants]
    return sum(len(variant.replicas) for variant in variants)
