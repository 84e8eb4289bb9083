"""A batch transform job from its CreateTransformJob request to its DescribeTransformJob answer (BT-1 to BT-14).

Every object is split, filtered, packed, sent, joined and put together again in order; several
requests are under way at once, also of one object. `plan_requests` and `assemble` are the pure
middle.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from container import contract
from container.errors import RequestError, UserError
from local_test import identity
from local_test.data import channels, models, record_formats, storage
from local_test.data.record_formats import Record
from local_test.data.storage import StoredObject
from local_test.endpoints.limits import Limits
from local_test.endpoints.server import Server
from local_test.jobs import job_directory, result
from local_test.jobs.result import JobResult, Listeners
from local_test.requests import json_path
from local_test.requests.validation import ValidRequest
from local_test.runners.interface import Launch, Runner
from local_test.runners.log_lines import OnLine

_MEGABYTE: Final = 1024**2
_STRATEGIES: Final = {"MULTI_RECORD": "MultiRecord", "SINGLE_RECORD": "SingleRecord"}


@dataclass(frozen=True)
class Settings:
    """How objects become requests: the request's values, else the container's, else the platform's (BT-3)."""

    concurrency: int = 1
    strategy: str = "MultiRecord"
    payload_megabytes: int = 6
    timeout_s: float = 600.0
    retries: int = 3

    @property
    def payload_bytes(self) -> float:
        """The largest body; no limit, and a body in chunks, for 0 (BT-6)."""
        return self.payload_megabytes * _MEGABYTE if self.payload_megabytes else float("inf")


@dataclass(frozen=True)
class PlannedRequest:
    """One request and the records that it stands for."""

    body: bytes
    inputs: tuple[bytes, ...]
    """The records before the input filter, for the join."""


@dataclass(frozen=True)
class _Job:
    """What a job's instances share."""

    request: Mapping[str, Any]
    model: Mapping[str, Any]
    runner: Runner
    directory: Path
    stop_requested: threading.Event = field(default_factory=threading.Event)
    failures: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)


class TransformJob:
    """One transform job; `run` once, `stop` from any thread (StopTransformJob)."""

    def __init__(
        self,
        request: ValidRequest,
        model: ValidRequest,
        runner: Runner,
        directory: Path,
        listeners: Listeners | None = None,
    ) -> None:
        """`model` is the CreateModel request that the job names; `directory` is the job's own and must not exist.

        Raises: UserError for a request that the service, or this machine, does not take, or if the
        name is taken.
        """
        self.request = request.fields
        self.name: str = self.request["TransformJobName"]
        self.directory = directory
        self._listeners = listeners or Listeners()
        self._job = _Job(self.request, model.fields, runner, directory)

    def stop(self) -> None:
        """Stop the job; nothing more is stored (BT-13)."""
        self._job.stop_requested.set()

    def run(self) -> JobResult:
        """Run the job to its end; a failure of the container is a result, not an error."""
        created = time.time()
        result.make_directory(self.directory)
        job_directory.write_documents(self.directory, {"request.json": self.request})
        failures = self._job.failures
        self._listeners.on_status("InProgress", "")
        try:
            source = self.request["TransformInput"]["DataSource"]["S3DataSource"]
            objects = channels.list_channel({"DataSource": {"S3DataSource": source}})
            count = self.request["TransformResources"]["InstanceCount"]
            hosts = [f"algo-{index + 1}" for index in range(count)]
            with result.log_files(
                self.directory / "logs", hosts, self._listeners.on_line
            ) as on_line:
                threads = []
                for index, host in enumerate(hosts):
                    part = objects[index::count]  # an object never spans instances (BT-13)
                    instance = _Instance(self._job, host, part, on_line)
                    threads.append(threading.Thread(target=instance.run, name=f"transform {host}"))
                    threads[-1].start()
                for thread in threads:
                    thread.join()
        except UserError as error:
            failures.append(str(error))
        failure = f"ClientError: {'; '.join(failures[:5])}" if failures else ""
        status = (
            "Stopped"
            if self._job.stop_requested.is_set()
            else "Failed"
            if failures
            else "Completed"
        )
        self._listeners.on_status(status, failure)
        description = {
            **{name: value for name, value in self.request.items() if name != "Tags"},
            "TransformJobArn": identity.arn("transform-job", self.name),
            "TransformJobStatus": status,
            **({"FailureReason": failure[: contract.FAILURE_REASON_CHARACTERS]} if failure else {}),
            "CreationTime": result.format_time(created),
            "TransformStartTime": result.format_time(created),
            "TransformEndTime": result.format_time(time.time()),
        }
        job_directory.write_documents(self.directory, {"description.json": description})
        return JobResult(description, self.directory, status, failure, self._job.findings)


class _Instance:
    """One server and its part of the objects."""

    def __init__(
        self,
        shared: _Job,
        host: str,
        objects: Sequence[StoredObject],
        on_line: OnLine,
    ) -> None:
        self._job = shared
        self._request = shared.request
        self._host = host
        self._objects = objects
        self._on_line = on_line
        self._restart = threading.Lock()
        self._server: Server | None = None

    def run(self) -> None:
        """Transform every object; a failed one does not hold up the others (BT-9)."""
        try:
            root = self._job.directory / "hosts" / self._host
            models.deliver(self._job.model["PrimaryContainer"], contract.Layout(root).model)
            self._start(root)
            settings = choose_settings(self._request, self._read_execution_parameters())
            shown = ", ".join(
                (
                    f"MaxConcurrentTransforms={settings.concurrency}",
                    f"MaxPayloadInMB={settings.payload_megabytes}",
                    f"BatchStrategy={_spell(settings.strategy)}",
                )
            )
            self._on_line(self._host, f"[sagemaker logs]: {shown}")
            with ThreadPoolExecutor(settings.concurrency) as pool:
                for item in self._objects:
                    if self._job.stop_requested.is_set():
                        break
                    self._transform(item, settings, pool)
        except UserError as error:
            self._job.failures.append(str(error))
        finally:
            if self._server is not None:
                _, was_killed = self._server.stop()
                if was_killed:
                    self._job.findings.append(f"{self._host} was killed after the grace (HO-10)")

    def _start(self, root: Path) -> None:
        container = self._job.model["PrimaryContainer"]
        is_isolated = self._job.model.get("EnableNetworkIsolation", False)
        launch = Launch(
            name=self._host,
            arguments=("serve",),
            root=root,
            environment={
                **identity.credentials(is_isolated=is_isolated),
                **container.get("Environment", {}),
                "AWS_REGION": identity.region(),
                **batch_environment(self._request),
            },
            read_only=("model",),
            is_server=True,
            is_isolated=is_isolated,
        )
        timeout_s = self._request.get("ModelClientConfig", {}).get(
            "InvocationsTimeoutInSeconds", Settings.timeout_s
        )
        limits = Limits(invocation_s=timeout_s)
        self._server = Server(launch, self._job.runner, limits, self._on_line)
        self._server.wait_until_healthy()

    def _read_execution_parameters(self) -> dict[str, Any]:
        assert self._server is not None  # noqa: S101 - started before
        status, body = self._server.client.exchange("GET", "/execution-parameters")
        if status == 404:
            return {}
        try:
            document = json.loads(body) if status == 200 else None
        except ValueError:
            document = None
        if not isinstance(document, dict):
            message = f"GET /execution-parameters was answered {status} {body[:99]!r}; 200 with JSON, or 404, is possible"
            raise UserError(message)
        return document

    def _transform(self, item: StoredObject, settings: Settings, pool: ThreadPoolExecutor) -> None:
        try:
            planned = list(plan_requests(self._request, storage.read(item.uri), settings))
            answers: list[Future[bytes]] = [
                pool.submit(self._send, request.body, settings) for request in planned
            ]
            bodies = [answer.result() for answer in answers]
            output = assemble(self._request, planned, bodies)
        except (UserError, RequestError) as error:
            self._job.failures.append(f"{item.uri}: {error}")
            self._on_line(self._host, f"[sagemaker logs]: {item.uri}: {error}")
            for answer in answers if "answers" in locals() else ():
                answer.cancel()
            return
        if not self._job.stop_requested.is_set():
            prefix = self._request["TransformOutput"]["S3OutputPath"].rstrip("/")
            storage.store_bytes(output, f"{prefix}/{item.name}.out")  # BT-8

    def _send(self, body: bytes, settings: Settings) -> bytes:
        """Send one request, again after a failure of the server's own (BT-10).

        Raises: RequestError if no attempt is answered with success.
        """
        headers = {"Content-Type": self._request["TransformInput"].get("ContentType", "")}
        headers["Accept"] = self._request["TransformOutput"].get("Accept", "")
        headers = {name: value for name, value in headers.items() if value}
        last = RequestError(424, "stopped")
        for attempt in range(settings.retries + 1):
            if self._job.stop_requested.is_set():
                break
            server = self._server
            assert server is not None  # noqa: S101 - started before
            try:
                answer = server.client.post(
                    "/invocations", body, headers, is_chunked=not settings.payload_megabytes
                )
            except RequestError as error:
                last = error
                self._revive(server)
            else:
                if answer.status < 300:
                    return answer.body
                last = RequestError(
                    answer.status,
                    f"status {answer.status}: {answer.body[:300].decode('utf-8', 'replace')}",
                )
                if answer.status < 500 and answer.status != 429:
                    raise last
            time.sleep(min(2**attempt * 0.05, 1.0))
        raise last

    def _revive(self, failed: Server) -> None:
        """Start the server again if it has ended, once for all who saw it (HO-12)."""
        with self._restart:
            if self._server is not failed or failed.container.wait(0.05) is None:
                return
            self._on_line(self._host, "[sagemaker logs]: the server has ended; it is started again")
            failed.container.remove()
            try:
                self._start(self._job.directory / "hosts" / self._host)
            except UserError as error:
                raise RequestError(424, str(error)) from error


def batch_environment(request: Mapping[str, Any]) -> dict[str, str]:
    """Give the variables of a transform job's container: `SAGEMAKER_BATCH` always, others if asked for (BT-2)."""
    asked = {
        contract.MAX_PAYLOAD_VARIABLE: request.get("MaxPayloadInMB"),
        contract.BATCH_STRATEGY_VARIABLE: _spell(request["BatchStrategy"])
        if "BatchStrategy" in request
        else None,
        contract.MAX_CONCURRENT_TRANSFORMS_VARIABLE: request.get("MaxConcurrentTransforms"),
    }
    return {
        **request.get("Environment", {}),
        contract.BATCH_VARIABLE: "true",
        **{name: str(value) for name, value in asked.items() if value is not None},
    }


def _spell(strategy: str) -> str:
    """Give the container's spelling of a strategy (BT-4)."""
    return next(spelling for spelling, name in _STRATEGIES.items() if name == strategy)


def choose_settings(request: Mapping[str, Any], parameters: Mapping[str, Any]) -> Settings:
    """Give the request's values, else the container's, else the defaults (BT-3).

    Raises: UserError if a value of the container is not possible, or the product exceeds 100 MB
    (BT-11).
    """
    strategy = parameters.get("BatchStrategy", "MULTI_RECORD")
    numbers = {
        name: parameters.get(name, default)
        for name, default in (("MaxConcurrentTransforms", 1), ("MaxPayloadInMB", 6))
    }
    wrong = [
        f"{name}={value!r}"
        for name, value in numbers.items()
        if type(value) is not int or value < 0
    ]
    if strategy not in _STRATEGIES:
        wrong.append(f"BatchStrategy={strategy!r}")
    if wrong:
        possible = f"whole numbers and {', '.join(_STRATEGIES)} are possible (BT-4)"
        message = f"/execution-parameters gives {', '.join(wrong)}; {possible}"
        raise UserError(message)
    client = request.get("ModelClientConfig", {})
    settings = Settings(
        concurrency=max(
            1, request.get("MaxConcurrentTransforms") or numbers["MaxConcurrentTransforms"]
        ),
        strategy=request.get("BatchStrategy") or _STRATEGIES[strategy],
        payload_megabytes=request.get("MaxPayloadInMB", numbers["MaxPayloadInMB"]),
        timeout_s=client.get("InvocationsTimeoutInSeconds", Settings.timeout_s),
        retries=client.get("InvocationsMaxRetries", Settings.retries),
    )
    if settings.concurrency * settings.payload_megabytes > 100:
        message = (
            f"MaxConcurrentTransforms {settings.concurrency} times MaxPayloadInMB {settings.payload_megabytes} "
            "is more than 100 (BT-11)"
        )
        raise UserError(message)
    return settings


def plan_requests(
    request: Mapping[str, Any], body: bytes, settings: Settings
) -> Iterator[PlannedRequest]:
    """Turn an object's bytes into requests: decompress, split, filter, pack (BT-5, BT-7, BT-12).

    Raises: UserError if the object is not of its format, or a record exceeds the payload limit.
    """
    source = request["TransformInput"]
    if source.get("CompressionType") == "Gzip":
        try:
            body = gzip.decompress(body)
        except (OSError, EOFError) as error:
            message = f"the object is not gzip: {error} (BT-7)"
            raise UserError(message) from error
    split_type = source.get("SplitType", "None")
    is_packed = split_type != "None" and settings.strategy == "MultiRecord"
    path = json_path.parse(request.get("DataProcessing", {}).get("InputFilter", "$"))
    pending: list[Record] = []
    size = 0
    for record in record_formats.split(body, split_type):
        sent = _filter_record(record, path, source.get("ContentType", "")) if path else record
        part = sent.framed if is_packed else sent.payload
        if len(part) > settings.payload_bytes:
            message = f"a record of {len(part)} bytes exceeds MaxPayloadInMB {settings.payload_megabytes} (BT-5)"
            raise UserError(message)
        if pending and (not is_packed or size + len(part) > settings.payload_bytes):
            yield _plan(pending, is_packed=is_packed)
            pending, size = [], 0
        pending.append(Record(part, record.payload))
        size += len(part)
    if pending:
        yield _plan(pending, is_packed=is_packed)


def _plan(pending: Sequence[Record], *, is_packed: bool) -> PlannedRequest:
    body = b"".join(record.framed for record in pending) if is_packed else pending[0].framed
    return PlannedRequest(body, tuple(record.payload for record in pending))


def _filter_record(record: Record, path: list[json_path.Step], content_type: str) -> Record:
    payload = _encode(json_path.select(_decode(record.payload, content_type), path), content_type)
    return Record(payload + record.framed[len(record.payload) :], payload)


def _is_csv(content_type: str) -> bool:
    return content_type.split(";", maxsplit=1)[0].strip().lower() == "text/csv"


def _decode(payload: bytes, content_type: str) -> Any:
    """Read one record for a filter or join: a CSV line gives its columns as a list of texts, else JSON."""
    text = payload.decode("utf-8", "replace").rstrip("\r\n")
    if _is_csv(content_type):
        return next(csv.reader([text]), [])
    try:
        return json.loads(text)
    except ValueError as error:
        message = (
            f"a record that is to be filtered or joined is no JSON: {text[:80]!r}: {error} (BT-12)"
        )
        raise UserError(message) from error


def _encode(value: Any, content_type: str) -> bytes:
    if not _is_csv(content_type):
        return json.dumps(value, separators=(",", ":")).encode()
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow(value if isinstance(value, list) else [value])
    return buffer.getvalue().encode()


def assemble(
    request: Mapping[str, Any], planned: Sequence[PlannedRequest], bodies: Sequence[bytes]
) -> bytes:
    """Put the answers of one object together, in the order of its records (BT-8, BT-12).

    Raises: UserError if a join is asked for and the answers are not one record for each record.
    """
    processing = request.get("DataProcessing", {})
    path = json_path.parse(processing.get("OutputFilter", "$"))
    is_joined = processing.get("JoinSource", "None") == "Input"
    target = request["TransformOutput"]
    end = b"\n" if target.get("AssembleWith") == "Line" else b""
    if not is_joined and not path:
        return b"".join(body + end for body in bodies)
    content_type = target.get("Accept") or request["TransformInput"].get("ContentType", "")
    lines = []
    for plan, body in zip(planned, bodies, strict=True):
        answers = (
            [record.payload for record in record_formats.split_lines(body)]
            if len(plan.inputs) > 1
            else [body.rstrip(b"\n")]
        )
        if len(answers) != len(plan.inputs):
            message = f"{len(plan.inputs)} records were sent, {len(answers)} came back: no join is possible (BT-9)"
            raise UserError(message)
        for source, answer in zip(plan.inputs, answers, strict=True):
            lines.append(
                _finish_record(source, answer, path, content_type, is_joined=is_joined) + end
            )
    return b"".join(lines)


def _finish_record(
    source: bytes, answer: bytes, path: list[json_path.Step], content_type: str, *, is_joined: bool
) -> bytes:
    """Join one answer with its record, then filter."""
    if _is_csv(content_type):
        if is_joined:
            answer = source.rstrip(b"\r") + b"," + answer
        return (
            _encode(json_path.select(_decode(answer, content_type), path), content_type)
            if path
            else answer
        )
    value = _decode(answer, content_type)
    if is_joined:
        original = _decode(source, content_type)
        value = (
            {**original, "SageMakerOutput": value}
            if isinstance(original, dict)
            else {"SageMakerInput": original, "SageMakerOutput": value}
        )
    return _encode(json_path.select(value, path), content_type)
