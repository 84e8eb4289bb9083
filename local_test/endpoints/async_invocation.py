"""Asynchronous invocations: requests from objects, answers to objects (ASY-1)."""

from __future__ import annotations

import concurrent.futures
import sys
import traceback
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from container.errors import RequestError, UserError
from local_test.data import storage
from local_test.endpoints.invocation import HEADER_PREFIX, Answer


class AsyncInvocations:
    """The queue of an endpoint's asynchronous requests."""

    def __init__(
        self,
        config: Mapping[str, Any],
        answer: Callable[[bytes, Mapping[str, str]], Answer],
        report: Callable[[str], None] = lambda text: None,  # noqa: ARG005 - ignored
    ) -> None:
        """`config` is an AsyncInferenceConfig; `answer` passes a request to a container.

        `report` is told of every answer that is not where the receipt says.
        """
        self._config = config
        self._answer = answer
        self._report = report
        workers = config.get("ClientConfig", {}).get("MaxConcurrentInvocationsPerInstance", 4)
        self._pool = concurrent.futures.ThreadPoolExecutor(workers, thread_name_prefix="async")

    def submit(self, input_uri: str, headers: Mapping[str, str]) -> dict[str, str]:
        """Queue a request and return its receipt.

        Raises: RequestError 400 if the inference ID cannot be part of a key.
        """
        lowered = {name.lower(): value for name, value in headers.items()}
        identity = lowered.get(HEADER_PREFIX + "inference-id") or str(uuid.uuid4())
        if ".." in identity.split("/"):
            message = f"the inference ID {identity!r} would name an object elsewhere (ASY-1)"
            raise RequestError(400, message)
        outputs = self._config["OutputConfig"]["S3OutputPath"]
        failures = self._config["OutputConfig"].get("S3FailurePath", outputs)
        receipt = {
            "InferenceId": identity,
            "OutputLocation": f"{outputs.rstrip('/')}/{identity}.out",
            "FailureLocation": f"{failures.rstrip('/')}/{identity}-error.out",
        }
        self._pool.submit(self._process, input_uri, lowered, receipt)
        return receipt

    def _process(
        self, input_uri: str, headers: Mapping[str, str], receipt: Mapping[str, str]
    ) -> None:
        """Answer one request; whatever happens, an object or the log says how it ended."""
        place = receipt["FailureLocation"]
        try:
            answer = self._answer(storage.read(input_uri), headers)
            body = answer.body
            if answer.status < 300:
                place = receipt["OutputLocation"]
        except (UserError, RequestError) as error:
            body = str(error).encode()
        except Exception as error:  # noqa: BLE001 - a bug of ours must not lose the answer
            traceback.print_exception(error, file=sys.stderr)
            body = f"InternalFailure: {type(error).__name__}: {error}".encode()
        fault = _try_to_store(body, place)
        if not fault:
            return
        identity = receipt["InferenceId"]
        self._report(f"the answer to {identity} is lost: {fault} (ASY-1)")
        if place != receipt["FailureLocation"]:
            reason = f"the answer could not be stored: {fault}"
            if fault := _try_to_store(reason.encode(), receipt["FailureLocation"]):
                self._report(f"the failure of {identity} is not stored either: {fault} (ASY-1)")

    def close(self) -> None:
        """Finish all queued requests."""
        self._pool.shutdown()


def _try_to_store(body: bytes, uri: str) -> str:
    """Store an object; return what went wrong, or nothing."""
    try:
        storage.store_bytes(body, uri)
    except (UserError, OSError) as error:
        return str(error)
    return ""
