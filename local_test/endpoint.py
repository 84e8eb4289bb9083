"""An endpoint: servers kept healthy as the platform does it, and requests passed to them within its limits."""

from __future__ import annotations

import http.client
import itertools
import queue
import random
import shutil
import signal
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from container import contract
from container.errors import RequestError, UserError
from local_test import collection, fields, storage, tree
from local_test.fleet import LineSplitter, OnLine
from local_test.runner import Container, Launch, Runner

STARTUP_LIMIT_S: Final = 8 * 60  # HO-5
PING_INTERVAL_S: Final = 5  # not established by the platform's documents; what its local modes use
UNHEALTHY_AFTER_PINGS: Final = 3  # not established either
ACCEPT_LIMIT_S: Final = 0.25  # HO-7
ORIGINAL_MESSAGE_CHARACTERS: Final = 2048  # RQ-6
HEADER_PREFIX: Final = "x-amzn-sagemaker-"
# RQ-2: what InvokeEndpoint lets through to a container, in lower case.
FORWARDED_HEADERS: Final = frozenset(
    {"content-type", "accept"}
    | {
        HEADER_PREFIX + name
        for name in (
            "custom-attributes",
            "target-model",
            "target-variant",
            "target-container-hostname",
            "inference-id",
            "inference-component",
            "session-id",
            "enable-explanations",
            "prefix-aware-id",
        )
    }
)
# RQ-5, SE-1: what comes back to the caller besides the body.
RETURNED_HEADERS: Final = frozenset(
    {"content-type"} | {HEADER_PREFIX + name for name in ("custom-attributes", "new-session-id", "closed-session-id")}
)


@dataclass(frozen=True)
class Answer:
    """What a container answered, and what a caller of InvokeEndpoint sees of it."""

    status: int
    """The container's own status."""
    headers: Mapping[str, str]
    """The container's headers that reach the caller, names in lower case."""
    body: bytes
    variant: str
    connect_s: float
    """Seconds until the connection stood; 0 for one that was kept."""
    first_byte_s: float
    """Seconds from the request's first byte to the answer's: the platform's ModelLatency, nearly."""
    total_s: float
    findings: tuple[str, ...] = ()
    """Contract clauses that this exchange broke although it went well."""

    @property
    def caller_status(self) -> int:
        """The status that a caller of InvokeEndpoint sees: 424 for whatever the container refused (RQ-6)."""
        return 200 if self.status < 400 else 424

    def model_error(self, endpoint: str) -> dict[str, Any]:
        """Give the ModelError that a caller sees of a refusal."""
        text = self.body[: 4 * ORIGINAL_MESSAGE_CHARACTERS].decode("utf-8", "replace")[:ORIGINAL_MESSAGE_CHARACTERS]
        kind = "client" if self.status < 500 else "server"
        return {
            "ErrorCode": "CLIENT_ERROR_FROM_MODEL" if self.status < 500 else "SERVER_ERROR_FROM_MODEL",
            "LogStreamArn": tree.arn("endpoint", endpoint).replace(":sagemaker:", ":logs:"),
            "Message": f'Received {kind} error ({self.status}) from {self.variant} with message "{text}".',
            "OriginalMessage": text,
            "OriginalStatusCode": self.status,
        }


@dataclass(frozen=True)
class Limits:
    """The platform's time and size limits for one endpoint; tests shorten them."""

    startup_s: float = STARTUP_LIMIT_S
    ping_s: float = contract.PING_LIMIT_S
    ping_interval_s: float = PING_INTERVAL_S
    invocation_s: float = contract.INVOCATION_LIMIT_S
    payload_bytes: int = contract.REALTIME_PAYLOAD_BYTES
    stop_grace_s: float = contract.SERVING_STOP_GRACE_S


@dataclass
class ModelRequests:
    """The three requests that make an endpoint."""

    models: dict[str, dict[str, Any]]
    """CreateModel by ModelName."""
    config: dict[str, Any]
    """CreateEndpointConfig."""
    endpoint: dict[str, Any]
    """CreateEndpoint."""

    def check(self) -> None:
        """Refuse what the service, or this machine, does not take.

        Raises: UserError that names every fault of the first request that has some.
        """
        for model in self.models.values():
            fields.check("CreateModel", model)
        fields.check("CreateEndpointConfig", self.config)
        fields.check("CreateEndpoint", self.endpoint)
        missing = [
            variant["ModelName"]
            for variant in self.config["ProductionVariants"]
            if variant.get("ModelName") not in self.models
        ]
        if missing:
            message = f"the endpoint's configuration names models that were not made: {', '.join(map(str, missing))}"
            raise UserError(message)


class Server:
    """One serving container and the connections to it."""

    def __init__(self, launch: Launch, runner: Runner, limits: Limits, on_line: OnLine) -> None:
        self.name = launch.name
        self.limits = limits
        self.is_healthy = False
        self.ping_s = 0.0
        """How long the last ping took."""
        splitter = LineSplitter(lambda line: on_line(launch.name, line))
        self.container: Container = runner.start(launch, splitter.feed)
        self._idle: queue.SimpleQueue[http.client.HTTPConnection] = queue.SimpleQueue()

    def wait_until_healthy(self) -> float:
        """Ping until the first 200 and give the seconds that it took.

        Raises: UserError if the server ends, or the limit passes, first (HO-5).
        """
        started = time.monotonic()
        pause_s, last = 0.01, "no answer"
        while (passed := time.monotonic() - started) < self.limits.startup_s:
            code = self.container.wait(pause_s)
            if code is not None:
                message = f"the server ended before it answered a ping: {collection.explain_exit(code)}"
                raise UserError(message)
            status, last = self.ping()
            if status == 200:
                self.is_healthy = True
                return time.monotonic() - started
            pause_s = min(pause_s * 1.3, 0.25)
        message = (
            f"{self.name} did not pass the ping health check within {passed:.0f} s (HO-5): last, {last}{self._hint()}"
        )
        raise UserError(message)

    def _hint(self) -> str:
        """Say what is known of a server that listens where the platform does not look."""
        host, port = self.container.address
        elsewhere = (
            f"something listens on {contract.DEFAULT_PORT}, but the server was told "
            f"{contract.BIND_TO_PORT_VARIABLE}={port} (HO-1)"
        )
        for candidate, advice in (
            (("127.0.0.1", port), "it listens on 127.0.0.1 alone; bind 0.0.0.0 (HO-1)"),
            (("127.0.0.1", contract.DEFAULT_PORT), elsewhere),
        ):
            if candidate != (host, port):
                try:
                    socket.create_connection(candidate, ACCEPT_LIMIT_S).close()
                except OSError:
                    continue
                return f"; {advice}"
        return ""

    def ping(self) -> tuple[int, str]:
        """Send GET /ping on a connection of its own; give its status, 0 without one, and what happened."""
        started = time.monotonic()
        connection = http.client.HTTPConnection(*self.container.address, timeout=self.limits.ping_s)
        try:
            connection.request("GET", "/ping", headers={"User-Agent": "AHC/2.0"})
            response = connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException) as error:
            return 0, f"{type(error).__name__}: {error}"
        else:
            return response.status, f"status {response.status}"
        finally:
            self.ping_s = time.monotonic() - started
            connection.close()

    def get(self, path: str) -> tuple[int, bytes]:
        """Send a GET on a connection of its own; give status and body.

        Raises: RequestError 424 if there is no answer.
        """
        connection = http.client.HTTPConnection(*self.container.address, timeout=self.limits.invocation_s)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            message = f"GET {path} was not answered: {type(error).__name__}: {error}"
            raise RequestError(424, message) from error
        finally:
            connection.close()

    def post(
        self, path: str, body: bytes, headers: Mapping[str, str], variant: str, *, is_chunked: bool = False
    ) -> Answer:
        """Send a POST within the platform's limits; in chunks of no told length if asked for (BT-6).

        Raises: RequestError 424 if the server does not accept, breaks off or exceeds the time (HO-7, HO-8).
        """
        started = time.monotonic()
        connection, connect_s = self._connect()
        try:
            if is_chunked:
                connection.request("POST", path, iter([body]), dict(headers), encode_chunked=True)
            else:
                connection.request("POST", path, body, dict(headers))
            response = connection.getresponse()
            first_byte_s = time.monotonic() - started
            payload = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            message = (
                f"the container broke off after {time.monotonic() - started:.1f} s: {type(error).__name__}: {error}"
            )
            if isinstance(error, TimeoutError):
                message = f"the container did not answer within {self.limits.invocation_s:g} s (HO-8)"
            raise RequestError(424, message) from error
        if response.will_close:
            connection.close()
        else:
            self._idle.put(connection)
        returned = {name.lower(): value for name, value in response.getheaders() if name.lower() in RETURNED_HEADERS}
        return Answer(
            status=response.status,
            headers=returned,
            body=payload,
            variant=variant,
            connect_s=connect_s,
            first_byte_s=first_byte_s,
            total_s=time.monotonic() - started,
            findings=() if "content-type" in returned or not payload else ("the answer has no Content-Type (RQ-4)",),
        )

    def _connect(self) -> tuple[http.client.HTTPConnection, float]:
        while not self._idle.empty():
            try:
                connection = self._idle.get_nowait()
            except queue.Empty:
                break
            if connection.sock is not None and not _is_closed(connection.sock):
                return connection, 0.0
            connection.close()
        started = time.monotonic()
        connection = http.client.HTTPConnection(*self.container.address, timeout=ACCEPT_LIMIT_S)
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            message = f"the container did not accept a connection within {ACCEPT_LIMIT_S * 1000:g} ms (HO-7): {error}"
            raise RequestError(424, message) from error
        connection.sock.settimeout(self.limits.invocation_s)
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection, time.monotonic() - started

    def stop(self) -> tuple[int, bool]:
        """Stop as the platform does (HO-10): SIGTERM, the grace, SIGKILL; give exit code and whether it was killed."""
        self.is_healthy = False
        while not self._idle.empty():  # the platform's router lets go of a server before it is stopped
            self._idle.get().close()
        self.container.send_signal(signal.SIGTERM)
        code = self.container.wait(self.limits.stop_grace_s)
        was_killed = code is None
        if was_killed:
            self.container.kill()
            code = self.container.wait()
        self.container.remove()
        while not self._idle.empty():
            self._idle.get().close()
        return code if code is not None else 137, was_killed


def _is_closed(connection: socket.socket) -> bool:
    """Tell whether the peer has closed a connection that lay idle."""
    timeout = connection.gettimeout()
    connection.settimeout(0)
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        connection.settimeout(timeout)


@dataclass
class Variant:
    """One production variant and its servers."""

    name: str
    weight: float
    servers: list[Server]
    turn: itertools.count[int] = field(default_factory=itertools.count)

    def next_server(self) -> Server | None:
        """Give the next healthy server in turn."""
        healthy = [server for server in self.servers if server.is_healthy]
        return healthy[next(self.turn) % len(healthy)] if healthy else None


class Endpoint:
    """One endpoint; use as a context manager, or call `start` and `stop`."""

    def __init__(
        self,
        requests: ModelRequests,
        runner: Runner,
        directory: Path,
        on_line: OnLine = lambda host, line: None,  # noqa: ARG005
        limits: Limits | None = None,
    ) -> None:
        """`directory` is the endpoint's own; what an earlier one of the name left in it goes.

        Raises: UserError for a request that the service, or this machine, does not take.
        """
        requests.check()
        self.name: str = requests.endpoint["EndpointName"]
        self.directory = directory
        self.status = "Creating"
        self.failure = ""
        self.startup_s = 0.0
        self._requests = requests
        self._runner = runner
        self._on_line = on_line
        self._limits = limits or Limits()
        self._variants: list[Variant] = []
        self._ended = threading.Event()
        self._monitor = threading.Thread(target=self._watch, daemon=True, name=f"ping {self.name}")

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    def start(self) -> None:
        """Start all servers and wait until every one is healthy.

        Raises: UserError if one does not get healthy; nothing is left running then.
        """
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        try:
            for description in self._requests.config["ProductionVariants"]:
                self._variants.append(self._start_variant(description))
            self.startup_s = max(server.wait_until_healthy() for server in self._servers())
        except BaseException as error:
            self.status, self.failure = "Failed", str(error)
            self.stop()
            raise
        self.status = "InService"
        self._monitor.start()

    def _servers(self) -> list[Server]:
        return [server for variant in self._variants for server in variant.servers]

    def _start_variant(self, description: Mapping[str, Any]) -> Variant:
        model = self._requests.models[description["ModelName"]]
        container = model.get("PrimaryContainer", {})
        startup_s = min(
            self._limits.startup_s,
            description.get("ContainerStartupHealthCheckTimeoutInSeconds", self._limits.startup_s),
        )
        limits = Limits(**{**vars(self._limits), "startup_s": startup_s})
        variant = Variant(description["VariantName"], description.get("InitialVariantWeight", 1.0), [])
        for index in range(description.get("InitialInstanceCount", 1)):
            name = f"{variant.name}-{index + 1}"
            root = self.directory / "hosts" / name
            deliver_model(container, contract.Layout(root).model)
            launch = Launch(
                name=name,
                arguments=("serve",),
                root=root,
                environment={**container.get("Environment", {}), "AWS_REGION": tree.region()},
                read_only=("model",),
                is_server=True,
                is_isolated=model.get("EnableNetworkIsolation", False),
            )
            variant.servers.append(Server(launch, self._runner, limits, self._on_line))
        return variant

    def _watch(self) -> None:
        """Ping every server for as long as the endpoint lives; one that fails is out until it answers again (HO-4)."""
        failures = dict.fromkeys(self._servers(), 0)
        while not self._ended.wait(self._limits.ping_interval_s):
            for server in failures:
                status, what = server.ping()
                failures[server] = 0 if status == 200 else failures[server] + 1
                if failures[server] == UNHEALTHY_AFTER_PINGS:
                    self._on_line(server.name, f"[platform] unhealthy: {what} {UNHEALTHY_AFTER_PINGS} times")
                server.is_healthy = failures[server] < UNHEALTHY_AFTER_PINGS

    def invoke(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Pass a request on as InvokeEndpoint does; headers that it does not know stay behind (RQ-2).

        Raises: RequestError with the status and message that the service itself would answer.
        """
        known = {name.lower(): value for name, value in headers.items() if name.lower() in FORWARDED_HEADERS}
        if len(body) > self._limits.payload_bytes:
            message = f"the body has {len(body)} bytes; {self._limits.payload_bytes} are possible (HO-9)"
            raise RequestError(413, message)
        attributes = known.get(contract.CUSTOM_ATTRIBUTES_HEADER.lower(), "")
        if len(attributes) > 1024 or not attributes.isascii():
            raise RequestError(400, "custom attributes are at most 1024 ASCII characters (RQ-2)")
        variant = self._choose_variant(known.get(HEADER_PREFIX + "target-variant"))
        server = variant.next_server()
        if server is None:
            message = f"no server of variant {variant.name!r} is healthy (HO-4)"
            raise RequestError(503, message)
        answer = server.post("/invocations", body, known, variant.name)
        if len(answer.body) > self._limits.payload_bytes:
            message = f"the answer has {len(answer.body)} bytes; {self._limits.payload_bytes} are possible (HO-9)"
            raise RequestError(424, message)
        return answer

    def _choose_variant(self, target: str | None) -> Variant:
        if target is not None:
            found = [variant for variant in self._variants if variant.name == target]
            if not found:
                message = f"variant {target!r} does not exist; possible are {[v.name for v in self._variants]}"
                raise RequestError(400, message)
            return found[0]
        if len(self._variants) == 1:
            return self._variants[0]
        return random.choices(self._variants, [variant.weight for variant in self._variants])[0]  # noqa: S311 - traffic

    def stop(self) -> list[str]:
        """Stop all servers and give a finding for each that broke the rules of stopping (HO-10)."""
        self._ended.set()
        findings: list[str] = []

        def stop(server: Server) -> None:
            _, was_killed = server.stop()
            if was_killed:
                findings.append(f"{server.name} was killed {self._limits.stop_grace_s:g} s after SIGTERM (HO-10)")

        threads = [threading.Thread(target=stop, args=(server,)) for server in self._servers()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.status != "Failed":
            self.status = "Deleted"
        return findings

    def describe(self) -> dict[str, Any]:
        """Describe the endpoint in the shape of DescribeEndpoint."""
        return {
            "EndpointName": self.name,
            "EndpointArn": tree.arn("endpoint", self.name),
            "EndpointConfigName": self._requests.config["EndpointConfigName"],
            "EndpointStatus": self.status,
            **({"FailureReason": self.failure[: contract.FAILURE_REASON_CHARACTERS]} if self.failure else {}),
            "ProductionVariants": [
                {
                    "VariantName": variant.name,
                    "CurrentWeight": variant.weight,
                    "CurrentInstanceCount": sum(server.is_healthy for server in variant.servers),
                    "DesiredInstanceCount": len(variant.servers),
                }
                for variant in self._variants
            ],
        }


def deliver_model(container: Mapping[str, Any], directory: Path) -> None:
    """Make `directory` hold the model of a container definition; without model data it stays empty (HO-3).

    Raises: UserError if the archive or prefix does not exist, or CreateModel would refuse it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    source = container.get("ModelDataSource", {}).get("S3DataSource", {})
    uri = container.get("ModelDataUrl") or source.get("S3Uri")
    if not uri:
        return
    if "ModelDataUrl" in container or source.get("CompressionType") == "Gzip":
        packed = directory.with_name("model.tar.gz")
        storage.fetch(uri, packed)
        collection.unpack(packed, directory)
        packed.unlink()
        return
    for item in storage.list_objects(uri):
        storage.fetch(item.uri, directory / item.name)
