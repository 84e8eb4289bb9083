"""Asynchronous invocations: requests from objects or bodies, answers to objects (ASY-1)."""

import concurrent.futures
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from container.errors import RequestError, UserError
from local_test.data import storage
from local_test.endpoints.asynchronous import notification
from local_test.endpoints.asynchronous.accepted import Accepted, Journal
from local_test.endpoints.asynchronous.notification import Outcome
from local_test.endpoints.invocation import Answer


@dataclass
class Links:
    """What the queues of an endpoint call."""

    answer: Callable[[bytes, Mapping[str, str], float], Answer]
    """Passes a request to a container; the third argument is its time limit in seconds."""
    report: Callable[[str], None] = lambda text: None  # noqa: ARG005 - ignored
    """Takes a line for every answer that is not where the receipt says."""
    endpoint: str = ""
    """Its name."""
    publish: Callable[[str, str], None] | None = None
    """Publishes a message to a topic of SNS; without it, messages are reported."""
    journal: Journal = field(default_factory=Journal)
    """Keeps what was accepted until it is answered."""


class AsyncInvocations:
    """The queue of an endpoint's asynchronous requests."""

    def __init__(
        self,
        config: Mapping[str, Any],
        links: Links,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`config` is an AsyncInferenceConfig."""
        self.config = config
        self._links = links
        self._clock = clock
        workers = config.get("ClientConfig", {}).get("MaxConcurrentInvocationsPerInstance", 4)
        self._pool = concurrent.futures.ThreadPoolExecutor(workers, thread_name_prefix="async")

    def submit(self, source: str | bytes, headers: Mapping[str, str]) -> dict[str, str]:
        """Queue a request, whose body is an object at a URI or given, and return its receipt.

        Raises: RequestError 400 if a header is wrong.
        """
        accepted = Accepted.make(self.config, source, headers, self._clock())
        self._links.journal.keep(accepted)
        self.queue(accepted)
        return accepted.receipt

    def queue(self, accepted: Accepted) -> None:
        """Queue a request that was accepted, by this process or by one before it."""
        self._pool.submit(self._process, accepted)

    def _process(self, accepted: Accepted) -> None:
        journal = self._links.journal
        if journal.is_closing():
            return
        receipt = accepted.receipt
        outcome = self._store(self._ask(accepted), receipt)
        request = {**accepted.headers, "endpointName": self._links.endpoint}
        if isinstance(accepted.source, str):
            request["inputLocation"] = accepted.source
        wanted = self.config["OutputConfig"].get("NotificationConfig", {})
        written = notification.write(wanted, outcome, receipt, request, accepted.received_s)
        if written is not None:
            self._notify(*written, receipt["InferenceId"])
        journal.drop(accepted)

    def _ask(self, accepted: Accepted) -> Outcome:
        """Answer one request, whatever happens."""
        try:
            accepted.check_age(self._clock())
            payload, headers = _fetch(accepted.source, accepted.headers)
            answer = self._links.answer(payload, headers, accepted.options.limit_s)
        except (UserError, RequestError) as error:
            return Outcome(str(error).encode(), failure=f"ClientError: {error}")
        except Exception as error:  # noqa: BLE001 - a bug of ours must not lose the answer
            traceback.print_exception(error, file=sys.stderr)
            reason = f"InternalFailure: {type(error).__name__}: {error}"
            return Outcome(reason.encode(), failure=reason)
        kind = "server" if answer.status >= 500 else "client"
        failure = (
            f"ClientError: Received {kind} error ({answer.status}) from model. See the SageMaker "
            "Endpoint logs in your account for more information."
        )
        content_type = answer.headers.get("content-type", "")
        return Outcome(answer.body, content_type, "" if answer.status < 300 else failure)

    def _store(self, outcome: Outcome, receipt: Mapping[str, str]) -> Outcome:
        """Store an outcome where the receipt says; an object or the log says how it ended."""
        place = receipt["FailureLocation" if outcome.failure else "OutputLocation"]
        fault = _try_to_store(outcome.body, place)
        if not fault:
            return outcome
        identity = receipt["InferenceId"]
        self._links.report(f"the answer to {identity} is lost: {fault} (ASY-1)")
        reason = f"the answer could not be stored: {fault}"
        if not outcome.failure and (
            fault := _try_to_store(reason.encode(), receipt["FailureLocation"])
        ):
            self._links.report(f"the failure of {identity} is not stored either: {fault} (ASY-1)")
        return Outcome(reason.encode(), failure=f"ClientError: {reason}")

    def _notify(self, topic: str, message: str, identity: str) -> None:
        if self._links.publish is None:
            self._links.report(f"no SNS runs here; {topic} would get {message}")
            return
        try:
            self._links.publish(topic, message)
        except UserError as error:
            self._links.report(f"the notification of {identity} is lost: {error} (ASY-1)")

    def close(self) -> None:
        """Finish all queued requests."""
        self._pool.shutdown()


class AsyncQueues:
    """The queues of an endpoint, one for each AsyncInferenceConfig that it has had. Thread-safe."""

    def __init__(self, links: Links) -> None:
        """`links` are those of every queue."""
        self._links = links
        self._queues: list[AsyncInvocations] = []
        self._lock = threading.Lock()

    def find(self, config: Mapping[str, Any]) -> AsyncInvocations:
        """Return the queue of the configuration that the endpoint has now.

        Requests that an earlier one has accepted are answered to where their receipts say.
        """
        with self._lock:
            if not self._queues or self._queues[-1].config != config:
                self._queues.append(AsyncInvocations(config, self._links))
            return self._queues[-1]

    def resume(self) -> None:
        """Queue again what an earlier process accepted and did not answer."""
        for accepted in self._links.journal.read():
            self.find(accepted.config).queue(accepted)

    def close(self) -> None:
        """Finish all queued requests."""
        with self._lock:
            for queue in self._queues:
                queue.close()


def _fetch(source: str | bytes, headers: Mapping[str, str]) -> tuple[bytes, Mapping[str, str]]:
    """Return the body and the headers; a request without a content type has its object's.

    Raises: UserError if the object cannot be read.
    """
    if isinstance(source, bytes):
        return source, headers
    payload, content_type = storage.read_typed(source)
    if content_type and "content-type" not in headers:
        headers = {**headers, "content-type": content_type}
    return payload, headers


def _try_to_store(body: bytes, uri: str) -> str:
    """Store an object; return what went wrong, or nothing."""
    try:
        storage.store_bytes(body, uri)
    except (UserError, OSError) as error:
        return str(error)
    return ""
