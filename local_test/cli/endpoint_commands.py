"""The commands of an endpoint: serve, invoke."""

import contextlib
import json
import os
import queue
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from container import contract
from container.errors import PlatformError, UserError, describe_port, name_command
from local_test.cli import reloading, request_files, terminal
from local_test.cli.debugging import DebugOptions
from local_test.cli.options import (
    JOBS,
    ContainerOptions,
    RequestOptions,
    check_port,
    flag,
    isolated_option,
    name_option,
    option,
    with_groups,
)
from local_test.cli.remote import endpoint_submission
from local_test.cli.remote.remote_options import RemoteOptions
from local_test.cli.runs import next_steps
from local_test.endpoints.endpoint import Endpoint
from local_test.endpoints.invocation_server import InvocationServer
from local_test.endpoints.server import Limits
from local_test.requests import content_types, shorthand
from local_test.requests.endpoint_requests import EndpointRequests
from local_test.runners import faults
from local_test.runners.interface import Runner
from local_test.runners.procfs import name_process


@dataclass(frozen=True)
class EndpointOptions:
    """Fields of the requests that make an endpoint, and faults."""

    model: str | None = option(
        None, "model.tar.gz, a directory, or the name of a training job; by default no model."
    )
    port: int = option(0, "Port to listen on; 0 chooses a free one.")
    name: str | None = name_option()
    instance_type: str = option("ml.m5.large", "Instance type (ProductionVariants[].InstanceType).")
    instance_count: int = option(1, "Number of servers.")
    inference_ami: str | None = option(None, "Driver of a GPU instance (InferenceAmiVersion).")
    startup_s: int | None = option(None, "Seconds within which the server must answer /ping.")
    isolated: bool = isolated_option()
    fault: list[str] | None = option(
        None,
        "Fault to inject, as KIND@SECONDSs or KIND@/REGEX/, such as kill-worker@5s. Kinds: "
        f"{', '.join(faults.SERVER_KINDS)}.",
    )
    reload: bool = flag("Restart the server when its model or code changes.", "--reload")

    def make_requests(self, container: ContainerOptions) -> EndpointRequests:
        """Return the requests.

        Raises: UserError if the model does not exist; it names those of training jobs.
        """
        return shorthand.endpoint_requests(
            name=self.name or shorthand.make_name("endpoint"),
            image=container.image_name,
            model=next_steps.resolve_model(self.model),
            environment=container.environment,
            instance_count=self.instance_count,
            is_isolated=self.isolated,
            startup_s=self.startup_s,
            instance_type=self.instance_type,
            inference_ami=self.inference_ami,
        )


@with_groups
def serve(
    options: EndpointOptions,
    container: ContainerOptions,
    debug: DebugOptions,
    request: RequestOptions,
    remote: RemoteOptions,
) -> int:
    """Serve a model until Ctrl-C; `invoke` and any InvokeEndpoint client can reach it."""
    check_port(options.port)
    requests = request_files.load_endpoint(request.request) or options.make_requests(container)
    if remote.is_wanted:
        local = {"--port": options.port, "--fault": options.fault, "--reload": options.reload}
        remote.refuse(container, local | {"--debug": debug.debug is not None})
        return endpoint_submission.serve(requests, remote, print_request=request.print_request)
    if request.print_request:
        print(json.dumps(vars(requests), indent=2))
        return 0
    requests.validate()
    happenings = [faults.parse(text, faults.SERVER_KINDS) for text in options.fault or ()]
    debug.check_hosts(requests.count_containers())
    sources = None
    if options.reload:
        if debug.debug is not None:  # a second program could not have the port
            raise UserError("--debug and --reload exclude each other; leave out one of them")
        sources = reloading.Sources.find(requests, container)
    limits = debug.limit(requests)
    runner = debug.make_runner(container)
    while True:
        try:
            endpoint = serving(
                requests, runner, port=options.port, happenings=happenings, limits=limits
            )
            return _wait_for_end(endpoint, requests, sources)
        except UserError as error:
            if sources is None:
                raise
            terminal.complain(f"{error}; waiting for a change")
            sources.wait()


def _wait_for_end(
    starting: AbstractContextManager[tuple[Endpoint, str]],
    requests: EndpointRequests,
    sources: reloading.Sources | None,
) -> int:
    """Start an endpoint, keep it up to date with `sources`, and stop it at a signal."""
    # A queue, since an event that a signal handler sets may be locked by the code it interrupts.
    stops: queue.SimpleQueue[None] = queue.SimpleQueue()
    is_up = False

    def on_signal(*_: object) -> None:
        terminal.no_stop.acquire(blocking=False)
        if not is_up or not stops.empty():
            raise KeyboardInterrupt
        stops.put(None)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    try:
        with starting as (endpoint, url):
            is_up = True
            terminal.say(
                f"endpoint {endpoint.name} is InService after {endpoint.startup_s:.2f} s; "
                "Ctrl-C stops it"
            )
            print(url, flush=True)
            while stops.empty():
                with contextlib.suppress(queue.Empty):
                    stops.put(stops.get(timeout=reloading.INTERVAL_S))
                if sources is not None and stops.empty():
                    sources.reload(endpoint, requests)
    finally:
        is_up = False
    return 0


@contextlib.contextmanager
def serving(
    requests: EndpointRequests,
    runner: Runner,
    *,
    port: int = 0,
    happenings: Sequence[faults.Fault] = (),
    limits: Limits | None = None,
) -> Iterator[tuple[Endpoint, str]]:
    """Start an endpoint and its HTTP server; at the end, stop both and print findings.

    Yield the endpoint, and the URL of its invocations.
    """
    for request in requests.validate():
        if request.operation == "CreateModel":
            terminal.announce(request, runner)
    name = requests.endpoint["EndpointName"]
    directory = JOBS / "endpoints" / name
    endpoint = Endpoint(requests, runner, directory, terminal.show_line, limits, faults=happenings)
    try:
        invocations = InvocationServer({name: endpoint}, port)
    except OSError as error:
        raise UserError(describe_port(port, error)) from error
    with contextlib.closing(invocations) as server:
        endpoint.start()
        server.start()
        state = directory / "endpoint.json"
        try:
            url = f"{server.url}/endpoints/{name}/invocations"
            state.write_text(json.dumps({"url": url, "pid": os.getpid()}), encoding="utf-8")
            yield endpoint, url
        finally:
            state.unlink(missing_ok=True)
            for finding in endpoint.stop():
                terminal.find(finding)


@dataclass(frozen=True)
class InvocationOptions:
    """Headers of InvokeEndpoint."""

    content_type: str | None = option(
        None, "Content-Type header of the body; by default by the file's suffix or first bytes."
    )
    accept: str | None = option(None, "Accept header: the type of the answer.")
    custom_attributes: str | None = option(None, "Custom-Attributes header, passed on.")
    target_variant: str | None = option(None, "Name of the variant that answers.")

    def make_headers(self, name: str, body: bytes) -> dict[str, str]:
        """Return the headers for the body from the file `name`."""
        headers = {
            "Content-Type": self.content_type or content_types.guess(name, body),
            "Accept": self.accept,
            contract.CUSTOM_ATTRIBUTES_HEADER: self.custom_attributes,
            "X-Amzn-SageMaker-Target-Variant": self.target_variant,
        }
        return {name: value for name, value in headers.items() if value is not None}


@with_groups
def invoke(
    options: InvocationOptions,
    body: Annotated[
        str, typer.Argument(help="File with the request body; - reads standard input.")
    ] = "-",
    endpoint: Annotated[
        str | None, typer.Option(help="Name of the endpoint; required if several are running.")
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Also print status, headers and times.")
    ] = False,
) -> int:
    """Send one request to an endpoint that `serve` started; print the response body as it is."""
    payload = sys.stdin.buffer.read() if body == "-" else request_files.read_bytes(Path(body))
    url = _find_url(endpoint)
    headers = options.make_headers(body, payload)
    started = time.monotonic()
    call = urllib.request.Request(  # noqa: S310 - loopback
        url, payload, headers, method="POST"
    )
    try:
        with urllib.request.urlopen(call) as response:  # noqa: S310 - loopback
            answer = response.read()
    except urllib.error.HTTPError as error:
        response = error
        answer = error.read()
    except urllib.error.URLError as error:
        raise PlatformError(f"cannot reach {url}: {error.reason}") from error
    if verbose or response.status != 200:
        terminal.say(f"sent {len(payload)} bytes of {headers['Content-Type']}")
        terminal.say(
            f"a caller of InvokeEndpoint sees status {response.status} "
            f"after {time.monotonic() - started:.4f} s"
        )
        for key, value in response.headers.items():
            terminal.say(f"  {key}: {value}")
    _print_answer(answer, response.headers.get("Content-Type", ""))
    return int(response.status != 200)


def _print_answer(answer: bytes, content_type: str) -> None:
    """Print an answer unchanged; a terminal gets a sentence in place of bytes that are not text."""
    if not sys.stdout.isatty():
        sys.stdout.buffer.write(answer)
    elif content_types.is_text(answer):
        sys.stdout.buffer.write(answer + b"\n" * (not answer.endswith(b"\n")))
    else:
        what = content_type or "no content type"
        terminal.say(
            f"the answer has {len(answer)} bytes of {what}, which are not text; write them to a "
            "file with `> FILE`"
        )
    sys.stdout.flush()


def _find_url(name: str | None) -> str:
    running = {}
    for path in JOBS.glob("endpoints/*/endpoint.json"):
        state = json.loads(path.read_text(encoding="utf-8"))
        if name_process(state["pid"]):
            running[path.parent.name] = str(state["url"])
    if name is None and len(running) == 1:
        return next(iter(running.values()))
    if name in running:
        return running[name]
    problem = "name an endpoint with --endpoint"
    if name is not None:
        problem = f"endpoint {name!r} is not running"
    names = ", ".join(running) or f"none (`{name_command('serve')}` starts one)"
    raise UserError(f"{problem}; running with jobs in {JOBS} are: {names}")
