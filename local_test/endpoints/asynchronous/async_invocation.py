"""Asynchronous invocations: requests from objects or bodies, answers to objects (ASY-1)."""

import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
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

_MOST_THREADS: Final = 1000  # they start when they are needed


@dataclass
class Links:
    """What the queue of an endpoint calls."""

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
    """The queue of an endpoint's asynchronous requests. Thread-safe."""

    def __init__(self, links: Links, clock: Callable[[], float] = time.time) -> None:
        self._links = links
        self._clock = clock
        self._backlog = Backlog(self._count_instances, clock)
        self._pool = ThreadPoolExecutor(_MOST_THREADS, thread_name_prefix="async")
        self._dispatcher = threading.Thread(target=self._dispatch, daemon=True, name="async queue")
        self._lock = threading.Lock()  # held while the dispatcher begins, or may not any more

    def submit(
        self, config: Mapping[str, Any], source: str | bytes, headers: Mapping[str, str]
    ) -> dict[str, str]:
        """Queue a request, whose body is an object at a URI or given, and return its receipt.

        `config` is the AsyncInferenceConfig that the endpoint has now. An update changes nothing
        for the requests before it.

        Raises: RequestError 400 if a header is wrong, 503 after `close`.
        """
        accepted = Accepted.make(config, source, headers, self._clock())
        self._links.journal.keep(accepted)
        try:
            self._queue(accepted)
        except RequestError:
            self._links.journal.drop(accepted)
            raise
        return accepted.receipt

    def resume(self) -> None:
        """Queue again what an earlier process accepted and did not answer."""
        for accepted in self._links.journal.read():
            self._queue(accepted)

    def _queue(self, accepted: Accepted) -> None:
        with self._lock:
            self._backlog.add(accepted)
            if self._dispatcher.ident is None:
                self._dispatcher.start()

    def measure(self) -> Size:
        """Return how many requests are not answered."""
        return self._backlog.measure()

    def _count_instances(self) -> int:
        try:
            return sum(self._links.instances().values())
        except Exception as error:  # noqa: BLE001 - they wait until it can be counted
            traceback.print_exception(error, file=sys.stderr)
            return 0

    def _dispatch(self) -> None:
        while accepted := self._backlog.take(self._links.journal.is_closing):
            self._pool.submit(self._process, accepted)

    def _process(self, accepted: Accepted) -> None:
        if self._links.journal.is_closing():
            return
        try:
            tally = Tally(next(iter(self._links.instances()), ""))
            outcome = self._ask(accepted, tally)
            if outcome is None:
                return
            self._finish(accepted, outcome, tally)
        except Exception as error:  # noqa: BLE001 - nobody else reads what this thread raises
            traceback.print_exception(error, file=sys.stderr)
        self._backlog.finish(accepted)

    def _finish(self, accepted: Accepted, outcome: Outcome, tally: Tally) -> None:
        """Store and report how a request ended."""
        outcome = self._store(outcome, accepted.receipt, tally)
        written = notification.write(accepted, outcome, self._links.endpoint)
        if written is not None and not self._notify(*written, accepted.options.identity):
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
                payload, content_type = storage.read_typed(accepted.source)
        except UserError:
            tally.add("RequestDownloadFailures")
            raise
        headers = dict(accepted.headers)
        if content_type:
            headers.setdefault("content-type", content_type)
        return payload, headers

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
        """Finish all queued requests, and refuse others; those that no instance takes fail."""
        with self._lock:
            self._backlog.close()
        if self._dispatcher.ident is not None:
            self._dispatcher.join()
        self._pool.shutdown()


def _try_to_store(body: bytes, uri: str) -> str:
    """Store an object; return what went wrong, or nothing."""
    try:
        storage.store_bytes(body, uri)
    except (UserError, OSError) as error:
        return str(error)
    return ""
