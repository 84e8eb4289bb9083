"""An endpoint: its life from CreateEndpoint to DeleteEndpoint, and the requests to it."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

from container import contract
from container.errors import PlatformError, RequestError, UserError
from local_test import container_files, identity
from local_test.endpoints import data_capture, invocation, invocation_members
from local_test.endpoints.asynchronous.async_invocation import AsyncInvocations, Links
from local_test.endpoints.data_capture import Capture
from local_test.endpoints.deployment import Deployment
from local_test.endpoints.health import HealthMonitor
from local_test.endpoints.invocation import FORWARDED_HEADERS, Answer, Stream
from local_test.endpoints.rollouts.guard import RollbackFailedError, Terms
from local_test.endpoints.rollouts.rollout import Rollout
from local_test.endpoints.server import Limits, Server, stop_all
from local_test.endpoints.variants.variant import Variant
from local_test.endpoints.variants.version_starter import VersionStarter
from local_test.requests.endpoint_requests import EndpointRequests
from local_test.runners.faults import SERVER_KINDS, Fault, Trigger
from local_test.runners.interface import Runner
from local_test.runners.log_lines import OnLine

CAPTURE: Final = "capture"
"""Where captured data is in an endpoint's directory until it is stored."""


class Endpoint:
    """One endpoint; use it as a context manager, or call `start` and `stop`."""

    def __init__(  # noqa: PLR0913 - limits are for tests
        self,
        requests: EndpointRequests,
        runner: Runner,
        directory: Path,
        on_line: OnLine = lambda host, line: None,  # noqa: ARG005 - named by the type
        limits: Limits | None = None,
        *,
        faults: Sequence[Fault] = (),
    ) -> None:
        """`directory` is the endpoint's own: `start` removes what is in it.

        Raises: UserError for requests that the service, or this machine, does not accept.
        """
        requests.validate()
        self.name: str = requests.endpoint["EndpointName"]
        self.directory = directory
        self.status = "Creating"
        self.failure = ""
        self.on_copy: Callable[..., None] = lambda *_, **__: None
        """Called as `Meter.count` is, for the answers of a shadow variant."""
        self._requests = requests
        self._listener = on_line
        self._limits = limits or Limits()
        self._trigger = Trigger(faults, self._inject, self._report)
        self._slow_readers = 0
        self._notes = invocation_members.Notes(self._report)
        starter = VersionStarter(
            directory,
            runner,
            self._limits,
            self._on_line,
            take_truncation=lambda: self._trigger.take("truncated-model") is not None,
        )
        starter.on_copy = self._record_copy
        self.deployment = Deployment(starter, self._limits)
        self._monitor = HealthMonitor(self.name, self.deployment, self._on_line)
        self._capture = self._make_capture(requests)
        self.links = Links(
            self._answer_async, self._report, self.name, instances=self.deployment.count_instances
        )
        self.queue = AsyncInvocations(self.links)

    def _on_line(self, host: str, line: str) -> None:
        self._listener(host, line)
        self._trigger.see(line)

    def _report(self, text: str) -> None:
        """Write a line of the platform's own to the endpoint's log."""
        variant = self._requests.config["ProductionVariants"][0]["VariantName"]
        self._on_line(f"{variant}-1", f"[platform] {text}")

    def _make_capture(self, requests: EndpointRequests) -> Capture:
        config = requests.config.get("DataCaptureConfig")
        return Capture(config, self.name, self.directory / CAPTURE, self._report)

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    @property
    def startup_s(self) -> float:
        """The longest time that a server took to become healthy."""
        return self.deployment.starter.startup_s

    def start(self) -> None:
        """Start all servers and wait until every one is healthy.

        Raises: UserError if one does not become healthy; nothing is left running then.
        """
        if data_capture.recover(self.directory / CAPTURE, self._report):
            container_files.remove_tree(self.directory)
        container_files.remove_tree(self.directory / "hosts")  # captured data that is left stays
        self.directory.mkdir(parents=True, exist_ok=True)
        time.sleep(self._trigger.take("slow-start") or 0.0)
        try:
            self.deployment.take_over(self.deployment.starter.start(self._requests))
        except BaseException as error:
            self.status = "Failed"
            self.failure = str(error)
            self.stop()
            raise
        self.status = "InService"
        self.queue.resume()
        self._monitor.start()
        self._trigger.start_clock()

    def update(self, requests: EndpointRequests, terms: Terms | None = None) -> None:
        """Replace all servers by those of a new configuration, without a gap: UpdateEndpoint.

        Without `terms`, all traffic is shifted at once.

        Raises: UserError, PlatformError if the deployment is rolled back, since a new server does
        not become healthy (HO-5), an alarm trips or the time is over; RollbackFailedError.
        """
        requests.validate()
        rollout = Rollout(self.deployment, requests, terms or Terms(), self._monitor.ended)
        before = self.status
        self.status = "Updating"
        try:
            old = rollout.run()
            self._requests = requests
            captured = self._capture
            self._capture = self._make_capture(requests)
            rollout.end(old)
        except (UserError, PlatformError) as error:
            self.failure = f"the update was rolled back: {error}"
            is_mixed = isinstance(error, RollbackFailedError)
            self.status = "UpdateRollbackFailed" if is_mixed else before
            raise
        finally:
            self.deployment.progress = None
        self.failure = ""
        self.status = "InService"
        captured.close()

    def set_weight(self, variant: str, weight: float) -> None:
        """Change a variant's share of the requests."""
        self.deployment.choose_variant(variant).weight = weight

    def set_instance_count(self, variant: str, count: int) -> None:
        """Start or stop servers of a variant while the others stay in service.

        Raises: UserError if a new server does not become healthy; none is added then.
        """
        chosen = self.deployment.choose_variant(variant)
        with self.deployment.changing:
            self.deployment.resize(chosen, count, self._monitor.ended.is_set)

    def servers(self) -> list[Server]:
        """Return the servers of all variants."""
        return self.deployment.servers()

    def _inject(self, fault: Fault) -> None:
        if not (servers := self.servers()):  # a serverless endpoint that has scaled to zero
            self._report(f"{fault.kind} hits nothing: no server runs")
            return
        server = next((server for server in servers if server.name == fault.host), servers[0])
        self._listener(server.name, f"[fault] {fault.kind}: {SERVER_KINDS[fault.kind]}")
        if fault.kind == "slow-reader":
            self._slow_readers += 1
        elif fault.kind == "kill-worker" and (workers := server.container.processes()[1:]):
            with contextlib.suppress(ProcessLookupError):
                os.kill(workers[0], signal.SIGKILL)
        else:  # a server without workers does the work itself
            server.container.kill()

    def invoke(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Pass a request to a container as InvokeEndpoint does (RQ-2).

        Raises: RequestError with the status and message of the service.
        """
        variant, known = self._admit("InvokeEndpoint", body, headers)
        with self.deployment.lease(variant, known) as replica:
            self._read_slowly(replica.servers[0], body, known)
            answer = replica.answer(body, known)
        self.deployment.copy(body, known)
        invocation.check_answer(answer, variant.starter.limits.payload_bytes)
        if answer.status < 400:
            self._record(body, known, answer)
        return answer

    def _record(self, body: bytes, headers: Mapping[str, str], answer: Answer) -> None:
        """Capture an exchange."""
        self._capture.record(
            answer.variant,
            (headers.get("content-type", ""), body),
            (answer.headers.get("content-type", ""), answer.body),
            headers.get(invocation.HEADER_PREFIX + "inference-id"),
        )

    def _record_copy(self, body: bytes, headers: Mapping[str, str], answer: Answer) -> None:
        times_s = (answer.first_byte_s, answer.total_s)
        self.on_copy(answer.variant, answer.status, *times_s, config=answer.config)
        if answer.status < 400:
            self._record(body, headers, answer)

    def invoke_stream(self, body: bytes, headers: Mapping[str, str]) -> Stream:
        """Pass a request to a container as InvokeEndpointWithResponseStream does (ST-1).

        Raises: RequestError with the status and message of the service.
        """
        variant, known = self._admit("InvokeEndpointWithResponseStream", body, headers)
        if not variant.is_monitored:
            raise RequestError(400, "a serverless endpoint does not stream; use InvokeEndpoint")
        stream = self.deployment.stream(variant, known, body)
        self.deployment.copy(body, known)
        return stream

    def _read_slowly(self, server: Server, body: bytes, headers: Mapping[str, str]) -> None:
        """Send the request again for each slow reader that a fault has asked for."""
        while self._slow_readers > 0:
            self._slow_readers -= 1
            arguments = (body, headers, self._monitor.ended)
            threading.Thread(target=server.client.read_slowly, args=arguments, daemon=True).start()

    def _admit(
        self, operation: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[Variant, dict[str, str]]:
        """Return a synchronous request's variant, and the headers that concern the container.

        Raises: RequestError if the service would refuse the request.
        """
        if "AsyncInferenceConfig" in self._requests.config:
            message = (
                f"endpoint {self.name} is asynchronous (it has an AsyncInferenceConfig); use "
                "InvokeEndpointAsync (ASY-1)"
            )
            raise RequestError(400, message)
        known = invocation.select_headers(headers.items(), FORWARDED_HEADERS)
        self._notes.report(invocation_members.admit(operation, known))
        variant = self.deployment.choose(known)
        invocation.check_size(body, variant.starter.limits.payload_bytes)
        return variant, known

    def invoke_async(self, source: str | bytes, headers: Mapping[str, str]) -> dict[str, str]:
        """Queue an object's URI or a body as InvokeEndpointAsync does; return the receipt (ASY-1).

        Raises: RequestError 400 if the endpoint has no AsyncInferenceConfig, or a header is wrong;
        503 after `stop`.
        """
        config = self._requests.config.get("AsyncInferenceConfig")
        if config is None:
            raise RequestError(400, "the endpoint has no AsyncInferenceConfig (ASY-1)")
        return self.queue.submit(config, source, headers)

    def _answer_async(self, body: bytes, headers: Mapping[str, str], limit_s: float) -> Answer:
        known = invocation.select_headers(headers.items(), FORWARDED_HEADERS)
        with self.deployment.lease(self.deployment.choose(known), known) as replica:
            return replica.answer(body, known, limit_s=limit_s)

    def stop(self) -> list[str]:
        """Stop all servers; return a finding for each that broke the rules of stopping (HO-10)."""
        self._monitor.ended.set()
        self._trigger.stop_clock()
        self.deployment.starter.abandon()
        self.queue.close()
        with self.deployment.changing:
            findings = stop_all(self.deployment.close())
        self._capture.close()
        if self.status != "Failed":
            self.status = "Deleted"
        return findings

    def describe(self) -> dict[str, Any]:
        """Return the answer to DescribeEndpoint."""
        description = {
            "EndpointName": self.name,
            "EndpointArn": identity.arn("endpoint", self.name),
            "EndpointConfigName": self._requests.config["EndpointConfigName"],
            "EndpointStatus": self.status,
            **self.deployment.describe(),
        }
        if self.failure:
            description["FailureReason"] = self.failure[: contract.FAILURE_REASON_CHARACTERS]
        return description
