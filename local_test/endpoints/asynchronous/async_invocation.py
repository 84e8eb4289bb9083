"""Asynchronous invocations: requests from objects or bodies, answers to objects (ASY-1)."""

import concurrent.futures
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from container.errors import RequestError, UserError
from local_test.data import storage
from local_test.endpoints.asynchronous import notification
from local_test.endpoints.asynchronous.accepted import Accepted, Journal
from local_test.endpoints.asynchronous.backlog import Backlog, Size
from local_test.endpoints.asynchronous.notification import Outcome
from local_test.endpoints.asynchronous.tally import Count, Note, Tally, ignore
from local_test.endpoints.invocation import Answer, VariantError

_PER_INSTANCE: Final = 4  # requests at the same time, if the configuration does not say
_MOST_THREADS: Final = 1000  # they start when they are needed


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
    instances: Callable[[], Mapping[str, int]] = lambda: {"": 1}
    """Returns the number of healthy instances of each variant."""
    count: Count = ignore
    note: Note = ignore


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
        client = config.get("ClientConfig", {})
        self._backlog = Backlog(
            client.get("MaxConcurrentInvocationsPerInstance", _PER_INSTANCE),
            lambda: sum(links.instances().values()),
            clock,
        )
        self._pool = concurrent.futures.ThreadPoolExecutor(
            _MOST_THREADS, thread_name_prefix="async"
        )
        self._dispatcher = threading.Thread(target=self._dispatch, daemon=True, name="async queue")
        self._dispatcher.start()

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
        self._backlog.add(accepted)

    def measure(self) -> Size:
        """Return how many requests are not answered."""
        return self._backlog.measure()

    def _dispatch(self) -> None:
        while accepted := self._backlog.take(self._links.journal.is_closing):
            self._pool.submit(self._process, accepted)

    def _process(self, accepted: Accepted) -> None:
        if self._links.journal.is_closing():
            return
        tally = Tally(next(iter(self._links.instances()), ""))
        outcome = self._ask(accepted, tally)
        if outcome is None:
            return
        try:
            self._finish(accepted, outcome, tally)
        except Exception as error:  # noqa: BLE001 - nobody else reads what this thread raises
            traceback.print_exception(error, file=sys.stderr)
        finally:
            self._backlog.finish(accepted)

    def _finish(self, accepted: Accepted, outcome: Outcome, tally: Tally) -> None:
        """Store and report how a request ended."""
        receipt = accepted.receipt
        outcome = self._store(outcome, receipt, tally)
        request = {**accepted.headers, "endpointName": self._links.endpoint}
        if isinstance(accepted.source, str):
            request["inputLocation"] = accepted.source
        wanted = self.config["OutputConfig"].get("NotificationConfig", {})
        written = notification.write(wanted, outcome, receipt, request, accepted.received_s)
        if written is not None and not self._notify(*written, receipt["InferenceId"]):
            tally.add("NotificationFailures")
        self._links.journal.drop(accepted)
        tally.finish(self._links.note, accepted.received_s, is_failure=bool(outcome.failure))

    def _ask(self, accepted: Accepted, tally: Tally) -> Outcome | None:
        """Answer one request, whatever happens; return None if it waits again."""
        begun_s = time.perf_counter()
        try:
            payload, headers = self._prepare(accepted, tally)
            begun_s = time.perf_counter()
            answer = self._links.answer(payload, headers, accepted.options.limit_s)
        except (UserError, RequestError) as error:
            if isinstance(error, VariantError):
                is_busy = error.status == HTTPStatus.SERVICE_UNAVAILABLE
                is_left = self._links.journal.is_closing
                if is_busy and (self._backlog.put_back(accepted) or is_left()):
                    return None
                if error.status == HTTPStatus.FAILED_DEPENDENCY:
                    tally.note_silence(self._links.count, error, time.perf_counter() - begun_s)
            return Outcome(str(error).encode(), failure=f"ClientError: {error}")
        except Exception as error:  # noqa: BLE001 - a bug of ours must not lose the answer
            traceback.print_exception(error, file=sys.stderr)
            reason = f"InternalFailure: {type(error).__name__}: {error}"
            return Outcome(reason.encode(), failure=reason)
        tally.note_answer(self._links.count, answer)
        kind = "server" if answer.status >= 500 else "client"
        failure = (
            f"ClientError: Received {kind} error ({answer.status}) from model. See the SageMaker "
            "Endpoint logs in your account for more information."
        )
        content_type = answer.headers.get("content-type", "")
        return Outcome(answer.body, content_type, "" if answer.status < 300 else failure)

    def _prepare(self, accepted: Accepted, tally: Tally) -> tuple[bytes, Mapping[str, str]]:
        """Return the body and the headers of a request whose turn it is.

        Raises: RequestError 408 if it waited too long, UserError if its object cannot be read.
        """
        now_s = self._clock()
        tally.values["TimeInBacklog"] = max(0.0, now_s - accepted.received_s) * 1e6
        if accepted.is_expired(now_s):
            tally.add("ExpiredRequests")
            ttl_s = accepted.options.ttl_s
            raise RequestError(408, f"the request expired: it waited longer than {ttl_s} s (ASY-1)")
        if isinstance(accepted.source, bytes):
            return accepted.source, accepted.headers
        try:
            with tally.time("RequestDownloadLatency"):
                return _fetch(accepted.source, accepted.headers)
        except UserError:
            tally.add("RequestDownloadFailures")
            raise

    def _store(self, outcome: Outcome, receipt: Mapping[str, str], tally: Tally) -> Outcome:
        """Store an outcome where the receipt says; an object or the log says how it ended."""
        place = receipt["FailureLocation" if outcome.failure else "OutputLocation"]
        with tally.time("ResponseUploadLatency"):
            fault = _try_to_store(outcome.body, place)
        if not fault:
            return outcome
        tally.add("ResponseUploadFailures")
        identity = receipt["InferenceId"]
        self._links.report(f"the answer to {identity} is lost: {fault} (ASY-1)")
        reason = f"the answer could not be stored: {fault}"
        if not outcome.failure and (
            fault := _try_to_store(reason.encode(), receipt["FailureLocation"])
        ):
            self._links.report(f"the failure of {identity} is not stored either: {fault} (ASY-1)")
        return Outcome(reason.encode(), failure=f"ClientError: {reason}")

    def _notify(self, topic: str, message: str, identity: str) -> bool:
        """Publish a message; return False, and report it, if it is lost."""
        if self._links.publish is None:
            self._links.report(f"no SNS runs here; {topic} would get {message}")
            return True
        try:
            self._links.publish(topic, message)
        except UserError as error:
            self._links.report(f"the notification of {identity} is lost: {error} (ASY-1)")
            return False
        return True

    def close(self) -> None:
        """Finish all queued requests; those that no instance takes fail."""
        self._backlog.close()
        self._dispatcher.join()
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

    def measure(self) -> Size:
        """Return how many requests are not answered, of all queues."""
        with self._lock:
            sizes = [queue.measure() for queue in self._queues]
        found = [size for size in sizes if size.count]
        oldest_s = min((size.oldest_s for size in found), default=0.0)
        return Size(sum(size.count for size in found), oldest_s)

    def close(self) -> None:
        """Finish all queued requests."""
        with self._lock:
            queues = list(self._queues)
        for queue in queues:  # others may still measure them
            queue.close()


def _fetch(source: str, headers: Mapping[str, str]) -> tuple[bytes, Mapping[str, str]]:
    """Return an object and the headers; a request without a content type has its object's.

    Raises: UserError if the object cannot be read.
    """
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
