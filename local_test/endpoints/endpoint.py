"""An endpoint: variants of servers kept healthy as the platform does it, requests shared out among them, updates."""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import os
import random
import shutil
import signal
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self

from container import contract
from container.errors import PlatformError, RequestError, UserError
from local_test import identity
from local_test.data import job_outputs, models, storage
from local_test.endpoints.data_capture import Capture
from local_test.endpoints.multi_model import ModelCache
from local_test.endpoints.server import HEADER_PREFIX, Answer, Limits, Server
from local_test.requests.endpoint_requests import EndpointRequests
from local_test.runners.faults import SERVER_KINDS, Fault, Trigger
from local_test.runners.interface import Launch, Runner
from local_test.runners.log_lines import OnLine

UNHEALTHY_AFTER_PINGS: Final = 3  # not established by the platform's documents
ASYNC_LIMIT_S: Final = 3600  # ASY-1
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


@dataclass
class Variant:
    """One production variant and its servers."""

    description: Mapping[str, Any]
    """Its entry in CreateEndpointConfig."""
    model: Mapping[str, Any]
    """Its CreateModel request."""
    weight: float
    servers: list[Server] = field(default_factory=list)
    caches: dict[Server, ModelCache] = field(default_factory=dict)
    """Of a multi-model variant."""
    turn: itertools.count[int] = field(default_factory=itertools.count)
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def name(self) -> str:
        """The variant's name."""
        return str(self.description["VariantName"])

    @property
    def container(self) -> Mapping[str, Any]:
        """The model's only container definition."""
        container: Mapping[str, Any] = self.model.get("PrimaryContainer", {})
        return container

    @property
    def is_multi_model(self) -> bool:
        """Whether requests name their model (MME-1)."""
        return bool(self.container.get("Mode") == "MultiModel")

    def next_server(self) -> Server | None:
        """Give the next healthy server in turn."""
        healthy = [server for server in self.servers if server.is_healthy]
        return healthy[next(self.turn) % len(healthy)] if healthy else None


class Endpoint:
    """One endpoint; use as a context manager, or call `start` and `stop`."""

    def __init__(  # noqa: PLR0913 - the last two are for tests and faults
        self,
        requests: EndpointRequests,
        runner: Runner,
        directory: Path,
        on_line: OnLine = lambda host, line: None,  # noqa: ARG005
        limits: Limits | None = None,
        *,
        faults: Sequence[Fault] = (),
    ) -> None:
        """`directory` is the endpoint's own; what an earlier one of the name left in it goes.

        Raises: UserError for a request that the service, or this machine, does not take.
        """
        requests.validate()
        self.name: str = requests.endpoint["EndpointName"]
        self.directory = directory
        self.status = "Creating"
        self.failure = ""
        self.startup_s = 0.0
        self._requests = requests
        self._runner = runner
        self._listener = on_line
        self._trigger = Trigger(faults, self._do_fault)
        self._slow_readers = 0
        self._starting: list[Server] = []
        self._limits = limits or Limits()
        self._variants: list[Variant] = []
        self._version = 0
        self._changing = threading.Lock()
        self._ended = threading.Event()
        self._monitor = threading.Thread(target=self._watch, daemon=True, name=f"ping {self.name}")
        self._capture = self._make_capture(requests)
        self._async_pool: concurrent.futures.ThreadPoolExecutor | None = None

    def _make_capture(self, requests: EndpointRequests) -> Capture | None:
        config = requests.config.get("DataCaptureConfig")
        return Capture(config, self.name) if config else None

    def _on_line(self, host: str, line: str) -> None:
        self._listener(host, line)
        self._trigger.see(line)

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
        time.sleep(self._trigger.take("slow-start") or 0.0)
        try:
            self._variants = self._start_version(self._requests)
        except BaseException as error:
            self.status, self.failure = "Failed", str(error)
            self.stop()
            raise
        self.status = "InService"
        self._monitor.start()
        self._trigger.start_clock()

    def update(self, requests: EndpointRequests) -> None:
        """Replace all servers by those of a new configuration, without a gap: UpdateEndpoint.

        Raises: UserError if a new one does not get healthy; the old ones go on as if nothing had
        been (HO-5).
        """
        requests.validate()
        with self._changing:
            self.status = "Updating"
            try:
                variants = self._start_version(requests)
            except UserError as error:
                self.status, self.failure = "InService", f"the update was rolled back: {error}"
                raise
            old, self._variants = self._variants, variants
            self._requests, self._capture = requests, self._make_capture(requests)
            self.status, self.failure = "InService", ""
            self._stop_servers([server for variant in old for server in variant.servers])

    def set_weight(self, variant: str, weight: float) -> None:
        """Give a variant another share of the requests."""
        self._choose_variant(variant).weight = weight

    def set_instance_count(self, variant: str, count: int) -> None:
        """Start or stop servers of a variant while the others go on.

        Raises: UserError if a new one does not get healthy; none is added then.
        """
        chosen = self._choose_variant(variant)
        with self._changing:
            missing = count - len(chosen.servers)
            if missing > 0:
                added = [self._start_server(chosen) for _ in range(missing)]
                self._wait_until_healthy(chosen, added)
                chosen.servers = [*chosen.servers, *added]
            elif missing < 0:
                surplus, chosen.servers = chosen.servers[count:], chosen.servers[:count]
                self._stop_servers(surplus)

    def servers(self) -> list[Server]:
        """Give every server of every variant."""
        return [server for variant in self._variants for server in variant.servers]

    def _start_version(self, requests: EndpointRequests) -> list[Variant]:
        """Start every server of a configuration at once; none is left if one does not get healthy."""
        self._version += 1
        variants = []
        try:
            for description in requests.config["ProductionVariants"]:
                weight = description.get("InitialVariantWeight", 1.0)
                variant = Variant(description, requests.models[description["ModelName"]], weight)
                variants.append(variant)
                for _ in range(description.get("InitialInstanceCount", 1)):
                    variant.servers.append(self._start_server(variant))
            for variant in variants:
                self._wait_until_healthy(variant, variant.servers)
        except BaseException:
            self._stop_servers([server for variant in variants for server in variant.servers])
            raise
        return variants

    def _start_server(self, variant: Variant) -> Server:
        default = self._limits.startup_s
        startup_s = min(
            default, variant.description.get("ContainerStartupHealthCheckTimeoutInSeconds", default)
        )
        name = f"{variant.name}-{next(variant.numbers)}"
        root = (
            self.directory / "hosts" / (name if self._version == 1 else f"{name}-v{self._version}")
        )
        layout = contract.Layout(root)
        container = variant.container
        is_isolated = variant.model.get("EnableNetworkIsolation", False)
        environment = {
            **identity.credentials(is_isolated=is_isolated),
            **container.get("Environment", {}),
            "AWS_REGION": identity.region(),
        }
        if variant.is_multi_model:
            layout.models.mkdir(parents=True)
            environment[contract.MULTI_MODEL_VARIABLE] = "true"
        else:
            is_truncated = self._trigger.take("truncated-model") is not None
            models.deliver(container, layout.model, is_truncated=is_truncated)
        launch = Launch(
            name=name,
            arguments=("serve",),
            root=root,
            environment=environment,
            read_only=("models",) if variant.is_multi_model else ("model",),
            is_server=True,
            is_multi_model=variant.is_multi_model,
            is_isolated=is_isolated,
        )
        server = Server(
            launch,
            self._runner,
            replace(self._limits, startup_s=startup_s),
            self._on_line,
            variant=variant.name,
        )
        if variant.is_multi_model:
            seen_at = f"{self._runner.mount_point(root)}/models"
            variant.caches[server] = ModelCache(
                server, models.find_uri(container), layout.models, seen_at
            )
        return server

    def _wait_until_healthy(self, variant: Variant, servers: list[Server]) -> None:
        self._starting = servers
        try:
            for server in servers:
                self.startup_s = max(self.startup_s, server.wait_until_healthy())
                if variant.is_multi_model:
                    variant.caches[server].check_list_api()
        except BaseException:
            self._stop_servers(servers)
            raise
        finally:
            self._starting = []

    def _watch(self) -> None:
        """Ping every server for as long as the endpoint lives; one that fails is out until it answers again (HO-4)."""
        failures: dict[Server, int] = {}
        while not self._ended.wait(self._limits.ping_interval_s):
            for server in self.servers():
                if server.container.wait(0) is not None:
                    self._replace(server)
                    continue
                status, what = server.ping()
                failures[server] = 0 if status == 200 else failures.get(server, 0) + 1
                if failures[server] == UNHEALTHY_AFTER_PINGS:
                    self._on_line(
                        server.name, f"[platform] unhealthy: {what} {UNHEALTHY_AFTER_PINGS} times"
                    )
                server.is_healthy = failures[server] < UNHEALTHY_AFTER_PINGS

    def _replace(self, dead: Server) -> None:
        """Start another server in the place of one that has ended (HO-12); one that does not get healthy stays out."""
        dead.is_healthy = False
        if not self._changing.acquire(blocking=False):  # an update may replace it anyway
            return
        try:
            found = [variant for variant in self._variants if dead in variant.servers]
            if not found or self._ended.is_set():
                return
            code = dead.container.wait(0) or 0
            why = job_outputs.explain_exit(code, dead.container.note)
            self._on_line(dead.name, f"[platform] {why}; it is replaced (HO-12)")
            fresh = self._start_server(found[0])
            self._wait_until_healthy(found[0], [fresh])
            found[0].servers = [fresh if server is dead else server for server in found[0].servers]
            found[0].caches.pop(dead, None)
            dead.container.remove()
        except (UserError, PlatformError) as error:
            self._on_line(dead.name, f"[platform] it could not be replaced: {error}")
        finally:
            self._changing.release()

    def _do_fault(self, fault: Fault) -> None:
        servers = self.servers()
        server = next((server for server in servers if server.name == fault.host), servers[0])
        self._listener(server.name, f"[fault] {fault.kind}: {SERVER_KINDS[fault.kind]}")
        if fault.kind == "slow-reader":
            self._slow_readers += 1
        elif fault.kind == "kill-worker" and (workers := server.container.processes()[1:]):
            with contextlib.suppress(ProcessLookupError):
                os.kill(workers[0], signal.SIGKILL)
        else:  # a server without workers is its own
            server.container.kill()

    def invoke(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Pass a request on as InvokeEndpoint does; headers that it does not know stay behind (RQ-2).

        Raises: RequestError with the status and message that the service itself would answer.
        """
        variant, server, known = self._route(body, headers)
        target = known.get(HEADER_PREFIX + "target-model")
        while self._slow_readers > 0:
            self._slow_readers -= 1
            threading.Thread(
                target=server.read_slowly, args=(body, known, self._ended), daemon=True
            ).start()
        if variant.is_multi_model:
            answer = self._invoke_model(variant, server, target, body, known)
        elif target is not None:
            raise RequestError(400, "TargetModel is for multi-model endpoints alone (MME-5)")
        else:
            answer = server.post("/invocations", body, known)
        if len(answer.body) > self._limits.payload_bytes:
            message = f"the answer has {len(answer.body)} bytes; {self._limits.payload_bytes} are possible (HO-9)"
            raise RequestError(424, message)
        if self._capture is not None and answer.status < 400:
            self._capture.record(
                variant.name,
                (known.get("content-type", ""), body),
                (answer.headers.get("content-type", ""), answer.body),
                known.get(HEADER_PREFIX + "inference-id"),
            )
        return answer

    def _invoke_model(
        self,
        variant: Variant,
        server: Server,
        target: str | None,
        body: bytes,
        headers: Mapping[str, str],
    ) -> Answer:
        if target is None:
            raise RequestError(400, "a multi-model endpoint needs TargetModel (MME-5)")
        cache = variant.caches[server]
        answer = server.post(cache.path_of(target), body, headers)
        if answer.status == 404:  # the container has unloaded it by itself (MME-5)
            cache.forget(target)
            answer = server.post(cache.path_of(target), body, headers)
        if variant.container.get("MultiModelConfig", {}).get("ModelCacheSetting") == "Disabled":
            cache.unload(target)  # MME-6
        return answer

    def loaded_models(self) -> dict[str, list[str]]:
        """Give each multi-model server's targets, the least recently used first."""
        return {
            server.name: cache.loaded
            for variant in self._variants
            for server, cache in variant.caches.items()
        }

    def invoke_stream(
        self, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, dict[str, str], Iterator[bytes]]:
        """Pass a request on as InvokeEndpointWithResponseStream does (ST-1): status, headers, parts as they come."""
        variant, server, known = self._route(body, headers)
        if variant.is_multi_model:
            raise RequestError(400, "a multi-model endpoint does not stream")
        return server.stream(body, known)

    def invoke_async(self, input_uri: str, headers: Mapping[str, str]) -> dict[str, str]:
        """Take an object as InvokeEndpointAsync does, and give the receipt; the answer is stored later (ASY-1).

        Raises: RequestError 400 if the endpoint has no AsyncInferenceConfig.
        """
        config = self._requests.config.get("AsyncInferenceConfig")
        if config is None:
            raise RequestError(400, "the endpoint has no AsyncInferenceConfig (ASY-1)")
        if self._async_pool is None:
            workers = config.get("ClientConfig", {}).get("MaxConcurrentInvocationsPerInstance", 4)
            self._async_pool = concurrent.futures.ThreadPoolExecutor(
                workers, thread_name_prefix="async"
            )
        identity = headers.get("X-Amzn-SageMaker-Inference-Id") or str(uuid.uuid4())
        output = config["OutputConfig"]
        failures = output.get("S3FailurePath", output["S3OutputPath"])
        receipt = {
            "InferenceId": identity,
            "OutputLocation": f"{output['S3OutputPath'].rstrip('/')}/{identity}.out",
            "FailureLocation": f"{failures.rstrip('/')}/{identity}-error.out",
        }
        self._async_pool.submit(self._answer_async, input_uri, dict(headers), receipt)
        return receipt

    def _answer_async(
        self, input_uri: str, headers: dict[str, str], receipt: Mapping[str, str]
    ) -> None:
        try:
            body = storage.read(input_uri)
            _, server, known = self._route(b"", headers)
            answer = server.post("/invocations", body, known, limit_s=ASYNC_LIMIT_S)
        except (UserError, RequestError) as error:
            storage.store_bytes(str(error).encode(), receipt["FailureLocation"])
            return
        place = receipt["OutputLocation" if answer.status < 300 else "FailureLocation"]
        storage.store_bytes(answer.body, place)

    def _route(
        self, body: bytes, headers: Mapping[str, str]
    ) -> tuple[Variant, Server, dict[str, str]]:
        """Check a request and give who answers it, and the headers that reach the container (RQ-2)."""
        known = {
            name.lower(): value
            for name, value in headers.items()
            if name.lower() in FORWARDED_HEADERS
        }
        if len(body) > self._limits.payload_bytes:
            message = (
                f"the body has {len(body)} bytes; {self._limits.payload_bytes} are possible (HO-9)"
            )
            raise RequestError(413, message)
        attributes = known.get(contract.CUSTOM_ATTRIBUTES_HEADER.lower(), "")
        if len(attributes) > 1024 or not attributes.isascii():
            raise RequestError(400, "custom attributes are at most 1024 ASCII characters (RQ-2)")
        variant = self._choose_variant(known.get(HEADER_PREFIX + "target-variant"))
        server = variant.next_server()
        if server is None:
            message = f"no server of variant {variant.name!r} is healthy (HO-4)"
            raise RequestError(503, message)
        return variant, server, known

    def _choose_variant(self, target: str | None) -> Variant:
        variants = self._variants
        if target is not None:
            found = [variant for variant in variants if variant.name == target]
            if not found:
                message = f"variant {target!r} does not exist; possible are {[variant.name for variant in variants]}"
                raise RequestError(400, message)
            return found[0]
        if len(variants) == 1:
            return variants[0]
        return random.choices(variants, [variant.weight for variant in variants])[0]  # noqa: S311 - traffic

    def stop(self) -> list[str]:
        """Stop all servers and give a finding for each that broke the rules of stopping (HO-10)."""
        self._ended.set()
        self._trigger.stop_clock()
        for server in self._starting:  # nobody waits for them any more
            server.container.kill()
        if self._async_pool is not None:
            self._async_pool.shutdown()
        with self._changing:
            findings = self._stop_servers(self.servers())
        if self._capture is not None:
            self._capture.flush()
        if self.status != "Failed":
            self.status = "Deleted"
        return findings

    def _stop_servers(self, servers: list[Server]) -> list[str]:
        findings: list[str] = []

        def stop(server: Server) -> None:
            _, was_killed = server.stop()
            if was_killed:
                findings.append(
                    f"{server.name} was killed {self._limits.stop_grace_s:g} s after SIGTERM (HO-10)"
                )

        threads = [threading.Thread(target=stop, args=(server,)) for server in servers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return findings

    def describe(self) -> dict[str, Any]:
        """Describe the endpoint in the shape of DescribeEndpoint."""
        return {
            "EndpointName": self.name,
            "EndpointArn": identity.arn("endpoint", self.name),
            "EndpointConfigName": self._requests.config["EndpointConfigName"],
            "EndpointStatus": self.status,
            **(
                {"FailureReason": self.failure[: contract.FAILURE_REASON_CHARACTERS]}
                if self.failure
                else {}
            ),
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
