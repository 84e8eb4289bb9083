"""One instance of a transform job: a server, and the objects that it transforms."""

import contextlib
import json
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from container.errors import RequestError, UserError
from local_test.data import storage
from local_test.data.storage import StoredObject
from local_test.endpoints.server import Limits, Server, find_end
from local_test.endpoints.variants.replica import Replica
from local_test.endpoints.variants.starter import Starter, await_health
from local_test.jobs.transform_records import assemble, plan_requests
from local_test.jobs.transform_settings import (
    Settings,
    batch_environment,
    choose_settings,
    spell_strategy,
)
from local_test.runners.interface import Runner
from local_test.runners.log_lines import OnLine


@dataclass(frozen=True)
class SharedState:
    """What the instances of a job share."""

    request: Mapping[str, Any]
    model: Mapping[str, Any]
    runner: Runner
    directory: Path
    stop_requested: threading.Event
    findings: list[str]
    failures: list[str] = field(default_factory=list)


class Instance:
    """The servers of one model, and their part of the objects."""

    def __init__(
        self, shared: SharedState, host: str, objects: Sequence[StoredObject], on_line: OnLine
    ) -> None:
        self._shared = shared
        self._request = shared.request
        self._host = host
        self._objects = objects
        self._on_line = on_line
        self._restart = threading.Lock()
        self._replica: Replica | None = None

    def run(self) -> None:
        """Transform each object; a failed one does not stop the others (BT-9).

        Raises: PlatformError if this machine fails.
        """
        try:
            settings = choose_settings(self._request, _read_parameters(self._start().servers[0]))
            self._log(
                f"MaxConcurrentTransforms={settings.concurrency}, "
                f"MaxPayloadInMB={settings.payload_megabytes}, "
                f"BatchStrategy={spell_strategy(settings.strategy)}"
            )
            with ThreadPoolExecutor(settings.concurrency) as pool:
                for item in self._objects:
                    if self._shared.stop_requested.is_set():
                        break
                    self._transform(item, settings, pool)
        except (UserError, RequestError) as error:
            self._shared.failures.append(str(error))
        finally:
            self.stop()

    def _log(self, text: str) -> None:
        self._on_line(self._host, f"[sagemaker logs]: {text}")

    def _start(self) -> Replica:
        """Start the servers and wait until they are healthy; `run` stops them, whatever happens."""
        client = self._request.get("ModelClientConfig", {})
        starter = Starter(
            model=self._shared.model,
            runner=self._shared.runner,
            directory=self._shared.directory / "hosts",
            on_line=self._on_line,
            limits=Limits(
                invocation_s=client.get("InvocationsTimeoutInSeconds", Settings.timeout_s)
            ),
            environment=batch_environment(self._request),
            restrictions={"instance_type": self._request["TransformResources"]["InstanceType"]},
        )
        replica = starter.start_replica(self._host)
        self._replica = replica
        await_health([replica])
        return replica

    def stop(self) -> None:
        """Stop the servers that run, and with them the requests in flight."""
        with self._restart:
            replica = self._replica
            self._replica = None
        for server in replica.servers if replica is not None else ():
            if server.stop():
                self._shared.findings.append(
                    f"{server.name} did not stop within the grace period and was killed (HO-10)"
                )

    def _transform(self, item: StoredObject, settings: Settings, pool: ThreadPoolExecutor) -> None:
        answers: list[Future[bytes]] = []
        try:
            planned = list(plan_requests(self._request, storage.read(item.uri), settings))
            answers += [pool.submit(self._send, plan.body, settings) for plan in planned]
            output = assemble(self._request, planned, [answer.result() for answer in answers])
            if not self._shared.stop_requested.is_set():
                prefix = self._request["TransformOutput"]["S3OutputPath"].rstrip("/")
                storage.store_bytes(output, f"{prefix}/{item.name}.out")  # BT-8
        except (UserError, RequestError) as error:
            self._shared.failures.append(f"{item.uri}: {error}")
            self._log(f"{item.uri}: {error}")
            for answer in answers:
                answer.cancel()

    def _send(self, body: bytes, settings: Settings) -> bytes:
        """Send one request, again after a failure of the server (BT-10).

        Raises: RequestError if no attempt succeeds.
        """
        headers = {
            "Content-Type": self._request["TransformInput"].get("ContentType"),
            "Accept": self._request["TransformOutput"].get("Accept"),
        }
        sent = {name: value for name, value in headers.items() if value}
        last = RequestError(424, "stopped")
        for attempt in range(settings.retries + 1):
            replica = self._replica
            if replica is None or self._shared.stop_requested.is_set():
                break
            is_chunked = not settings.payload_megabytes
            try:
                answer = replica.answer(body, sent, is_chunked=is_chunked)
            except RequestError as error:
                last = error
                self._revive(replica)
            else:
                if answer.status < 300:
                    return answer.body
                text = answer.body[:300].decode("utf-8", "replace")
                last = RequestError(
                    answer.status, f"{answer.source} status {answer.status}: {text}".strip()
                )
                if answer.status < 500 and answer.status != 429:
                    raise last
            time.sleep(min(2**attempt * 0.05, 1.0))
        raise last

    def _revive(self, failed: Replica) -> None:
        """Start all servers again if one has ended; several requests may notice that (HO-12)."""
        with self._restart:
            ends = [find_end(server.container, 0.05) for server in failed.servers]
            if self._replica is not failed or not any(ends):
                return
            self._log("the server has ended and is started again")
            for server in failed.servers:
                server.remove()
            try:
                self._start()
            except UserError as error:
                raise RequestError(424, str(error)) from error


def _read_parameters(server: Server) -> dict[str, Any]:
    """Ask a server for its execution parameters (BT-3); it need not have any.

    Raises: UserError if it answers with anything but 200 and a JSON object, or 404.
    """
    status, body = server.client.exchange("GET", "/execution-parameters")
    if status == 404:
        return {}
    document = None
    with contextlib.suppress(ValueError, RecursionError):
        document = json.loads(body)
    if status != 200 or not isinstance(document, dict):
        raise UserError(
            "GET /execution-parameters must answer 200 with a JSON object, or 404; "
            f"found {status} {body[:99]!r}"
        )
    return document
