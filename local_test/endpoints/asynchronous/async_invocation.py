"""Asynchronous invocations: requests from objects or bodies, answers to objects (ASY-1)."""

import concurrent.futures
import re
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from container.errors import RequestError, UserError
from local_test.data import storage
from local_test.endpoints.asynchronous import notification
from local_test.endpoints.asynchronous.notification import Outcome
from local_test.endpoints.invocation import HEADER_PREFIX, Answer

# Source: the API reference of InvokeEndpointAsync.
_TTL_S: Final = (60, 21_600)
"""The least and the most that RequestTTLSeconds can be; the most is the default."""
_LIMIT_S: Final = (1, 3600)  # the least and the most that InvocationTimeoutSeconds can be
_DEFAULT_LIMIT_S: Final = 900
_FILENAME: Final = re.compile(r"(?!.*\..*\.)[a-zA-Z0-9][a-zA-Z0-9_.-]{0,31}")
_EXTENSION: Final = re.compile(r"(?!s3:|https:)[a-zA-Z0-9!_.*'()/-]{1,512}")


@dataclass(frozen=True)
class Options:
    """What a request says about its place in the queue and its answer."""

    identity: str
    name: str
    """Of the answer's object, below the output path."""
    ttl_s: int
    """How long it may wait in the queue."""
    limit_s: int
    """How long the container may take."""

    @classmethod
    def read(cls, headers: Mapping[str, str]) -> Self:
        """Read headers whose names are in lower case.

        Raises: RequestError 400 for a value that the API does not accept.
        """
        identity = headers.get(HEADER_PREFIX + "inference-id") or str(uuid.uuid4())
        if ".." in identity.split("/"):
            message = f"the inference ID {identity!r} would name an object elsewhere (ASY-1)"
            raise RequestError(400, message)
        name = headers.get(HEADER_PREFIX + "filename", f"{identity}.out")
        if HEADER_PREFIX + "filename" in headers and not _FILENAME.fullmatch(name):
            message = (
                f"Filename {name!r} is wrong: at most 32 letters, digits, '-', '_' and one '.', "
                "and a letter or digit first"
            )
            raise RequestError(400, message)
        extension = headers.get(HEADER_PREFIX + "s3outputpathextension", "")
        if extension:
            if not _EXTENSION.fullmatch(extension) or ".." in extension.split("/"):
                message = (
                    f"S3OutputPathExtension {extension!r} is wrong: it is a path below the "
                    "endpoint's output path"
                )
                raise RequestError(400, message)
            name = f"{extension.strip('/')}/{name}"
        ttl_s = _read_seconds(headers, "RequestTTLSeconds", _TTL_S, _TTL_S[1])
        limit_s = _read_seconds(headers, "InvocationTimeoutSeconds", _LIMIT_S, _DEFAULT_LIMIT_S)
        return cls(identity, name, ttl_s, limit_s)


def _read_seconds(
    headers: Mapping[str, str], name: str, limits: tuple[int, int], default: int
) -> int:
    text = headers.get(HEADER_PREFIX + name.lower())
    if text is None:
        return default
    least, most = limits
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        message = f"{name} must be a whole number from {least} to {most}; found {text!r}"
        raise RequestError(400, message)
    return int(text)


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


class AsyncInvocations:
    """The queue of an endpoint's asynchronous requests."""

    def __init__(
        self, config: Mapping[str, Any], links: Links, clock: Callable[[], float] = time.monotonic
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
        lowered = {name.lower(): value for name, value in headers.items()}
        options = Options.read(lowered)
        outputs = self.config["OutputConfig"]["S3OutputPath"]
        failures = self.config["OutputConfig"].get("S3FailurePath", outputs)
        receipt = {
            "InferenceId": options.identity,
            "OutputLocation": f"{outputs.rstrip('/')}/{options.name}",
            "FailureLocation": f"{failures.rstrip('/')}/{options.identity}-error.out",
        }
        deadline = self._clock() + options.ttl_s
        received_s = time.time()

        def process() -> None:
            outcome = self._ask(source, lowered, options, deadline)
            outcome = self._store(outcome, receipt)
            request = {**lowered, "endpointName": self._links.endpoint}
            if isinstance(source, str):
                request["inputLocation"] = source
            wanted = self.config["OutputConfig"].get("NotificationConfig", {})
            written = notification.write(wanted, outcome, receipt, request, received_s)
            if written is not None:
                self._notify(*written, receipt["InferenceId"])

        self._pool.submit(process)
        return receipt

    def _ask(
        self, source: str | bytes, headers: Mapping[str, str], options: Options, deadline: float
    ) -> Outcome:
        """Answer one request, whatever happens."""
        try:
            self._check_age(options, deadline)
            payload, headers = _fetch(source, headers)
            answer = self._links.answer(payload, headers, options.limit_s)
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

    def _check_age(self, options: Options, deadline: float) -> None:
        if self._clock() > deadline:
            message = f"the request expired: it waited longer than {options.ttl_s} s (ASY-1)"
            raise RequestError(408, message)

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
