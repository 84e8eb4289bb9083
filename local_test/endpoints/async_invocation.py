"""Asynchronous invocations: requests from objects, answers to objects (ASY-1)."""

from __future__ import annotations

import concurrent.futures
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from container.errors import RequestError, UserError
from local_test.data import storage
from local_test.endpoints.invocation import HEADER_PREFIX, Answer


class AsyncInvocations:
    """The queue of an endpoint's asynchronous requests."""

    def __init__(
        self, config: Mapping[str, Any], answer: Callable[[bytes, Mapping[str, str]], Answer]
    ) -> None:
        """`config` is an AsyncInferenceConfig; `answer` passes a request to a container."""
        self._config = config
        self._answer = answer
        workers = config.get("ClientConfig", {}).get("MaxConcurrentInvocationsPerInstance", 4)
        self._pool = concurrent.futures.ThreadPoolExecutor(workers, thread_name_prefix="async")

    def submit(self, input_uri: str, headers: Mapping[str, str]) -> dict[str, str]:
        """Queue a request and return its receipt."""
        lowered = {name.lower(): value for name, value in headers.items()}
        identity = lowered.get(HEADER_PREFIX + "inference-id") or str(uuid.uuid4())
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
        try:
            answer = self._answer(storage.read(input_uri), headers)
        except (UserError, RequestError) as error:
            storage.store_bytes(str(error).encode(), receipt["FailureLocation"])
            return
        place = receipt["OutputLocation" if answer.status < 300 else "FailureLocation"]
        storage.store_bytes(answer.body, place)

    def close(self) -> None:
        """Finish all queued requests."""
        self._pool.shutdown()
