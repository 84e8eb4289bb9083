"""Checks of serving: protocol, negotiation, refusals, load, stops, batch jobs and multi-model servers.

Each session is a generator of verdicts; it names beforehand what it judges.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from container import contract
from container.errors import UserError
from local_test import identity
from local_test.conformance.catalog import Verdict, judge, skip
from local_test.conformance.subject import Peer, Reply, Subject, run_parallel
from local_test.data import models
from local_test.endpoints.client import ACCEPT_LIMIT_S
from local_test.endpoints.server import Limits, Server
from local_test.runners.interface import Launch

_GARBAGE: Final = b'\xff\xfe{]\x00"not, a\x00request\xff'
_NEVER: Final = "application/x-never-heard-of"
_WAITING_CONNECTIONS: Final = 40
_PARALLEL_REQUESTS: Final = 8


@dataclass
class Started:
    """A server that runs for one session."""

    server: Server
    root: Path
    healthy_after_s: float | None
    """None if it never got healthy."""
    failure: str

    @property
    def peer(self) -> Peer:
        """Speaks to it."""
        return Peer(self.server.container.address, self.server.limits.invocation_s)


@contextlib.contextmanager
def start(  # noqa: PLR0913 - the situations that sessions ask for
    subject: Subject,
    name: str,
    *,
    environment: Mapping[str, str] | None = None,
    model: str | None = None,
    amend: Callable[[contract.Layout], None] | None = None,
    is_isolated: bool = False,
    is_writable: bool = False,
) -> Iterator[Started]:
    """Start a server and wait until it is healthy, or has shown that it will not be."""
    assert subject.runner is not None  # noqa: S101 - sessions that start servers have one
    waits = subject.waits
    layout = contract.Layout(subject.directory / name)
    source = model or subject.model
    container: dict[str, Any] = {}
    if source and source.endswith(".tar.gz"):
        container["ModelDataUrl"] = (
            source if "://" in source else f"file://{Path(source).absolute()}"
        )
    elif source:
        prefix = source if "://" in source else f"file://{Path(source).absolute()}"
        container["ModelDataSource"] = {"S3DataSource": {"S3Uri": prefix.rstrip("/") + "/"}}
    models.deliver(container, layout.model)
    if amend:
        amend(layout)
    launch = Launch(
        name=name,
        arguments=("serve",),
        root=layout.base,
        environment={
            **identity.credentials(is_isolated=is_isolated),
            **subject.environment,
            "AWS_REGION": identity.region(),
            **(environment or {}),
        },
        read_only=() if is_writable else ("model",),
        is_server=True,
        is_isolated=is_isolated,
    )
    limits = Limits(
        startup_s=waits.start_s,
        ping_s=waits.ping_s,
        invocation_s=waits.invocation_s,
        stop_grace_s=waits.serving_stop_s,
    )
    with (subject.directory / f"{name}.log").open("w", encoding="utf-8") as log:
        server = Server(
            launch, subject.runner, limits, lambda _, line: print(line, file=log, flush=True)
        )
        try:
            try:
                started = Started(server, layout.base, server.wait_until_healthy(), "")
            except UserError as error:
                started = Started(server, layout.base, None, str(error))
            yield started
        finally:
            server.container.remove()


def _headers(subject: Subject, **changes: str | None) -> dict[str, str]:
    headers = {"Content-Type": subject.content_type, "Accept": subject.accept}
    headers |= {
        name.replace("_", "-"): value for name, value in changes.items() if value is not None
    }
    return {
        name: value
        for name, value in headers.items()
        if changes.get(name.replace("-", "_"), "") is not None
    }


def _post(peer: Peer, subject: Subject, body: bytes | None = None, **changes: str | None) -> Reply:
    return peer.ask(
        "POST", "/invocations", subject.body if body is None else body, _headers(subject, **changes)
    )


START_IDS: Final = ("IMG-1b", "HO-1a", "HO-5a", "HO-6a", "HO-2a")


def check_start(subject: Subject) -> Iterator[Verdict]:
    """A server's first seconds, with a model directory that is read-only where that can be."""
    with start(subject, "start") as started:
        is_healthy = started.healthy_after_s is not None
        evidence = f"200 after {started.healthy_after_s:.2f} s" if is_healthy else started.failure
        reply = _post(started.peer, subject) if is_healthy else Reply(0, error="never healthy")
        is_running = started.server.container.wait(0) is None
        is_reached = is_healthy or started.server.ping()[0] != 0
    is_good = 200 <= reply.status < 300
    is_good_when_writable = False
    if not is_good and subject.can_protect:
        with start(subject, "start-writable", is_writable=True) as writable:
            if writable.healthy_after_s is not None:
                is_good_when_writable = 200 <= _post(writable.peer, subject).status < 300
    yield judge("IMG-1b", is_running or is_good_when_writable, evidence)
    yield judge("HO-1a", is_reached or not is_running, evidence)
    yield judge("HO-5a", is_healthy or is_good_when_writable, evidence)
    if is_healthy:
        yield judge(
            "HO-6a",
            is_good or is_good_when_writable,
            f"the first request after the first 200: {reply}",
        )
    else:
        yield skip("HO-6a", "it never got healthy")
    if subject.can_protect:
        yield judge(
            "HO-2a",
            not is_good_when_writable,
            f"with a read-only model directory: {evidence}; {reply}",
        )
    else:
        yield skip("HO-2a", "this machine cannot make directories read-only for a program")


PROTOCOL_IDS: Final = (
    "HO-4a", "HO-4b", "HO-4d", "HO-1b", "HO-16a", "HO-16b", "HO-16c", "RQ-1a", "HO-8a", "RQ-2a", "RQ-3a", "RQ-3b",
    "RQ-3c", "RQ-3d", "RQ-4a", "RQ-4b", "RQ-4c", "RQ-4d", "RQ-5a", "RQ-6a", "RQ-6b", "RQ-8a", "SEC-4a", "BT-3a",
    "BT-4a", "BT-6a", "HO-9a", "HO-14a", "HO-4c", "HO-7a", "RQ-8b",
)  # fmt: skip


def check_protocol(subject: Subject) -> Iterator[Verdict]:
    """One server, asked everything that a caller and the platform may ask."""
    if subject.address is not None:
        yield from probe(subject, Peer(subject.address, subject.waits.invocation_s))
        return
    with start(subject, "protocol") as started:
        if started.healthy_after_s is None:
            yield judge("HO-4a", False, started.failure)
            for identity in PROTOCOL_IDS[1:]:
                yield skip(identity, "the server never got healthy")
            return
        yield from probe(subject, started.peer)


def probe(subject: Subject, peer: Peer) -> Iterator[Verdict]:
    """Ask a healthy server; the requests that may break it come last."""
    yield from _probe_ping(peer)
    yield from _probe_paths(peer)
    good = _post(peer, subject)
    is_good = 200 <= good.status < 300
    yield judge("RQ-1a", is_good, str(good))
    yield judge("HO-8a", good.seconds < subject.waits.invocation_s and bool(good.status), str(good))
    if not is_good:
        for identity in PROTOCOL_IDS[9:]:
            yield skip(identity, "the good request is refused")
        return
    yield judge(
        "RQ-4d", "content-type" in good.headers, f"Content-Type: {good.headers.get('content-type')}"
    )
    yield from _probe_negotiation(peer, subject)
    yield from _probe_parameters(peer)
    chunked = peer.ask("POST", "/invocations", subject.body, _headers(subject), is_chunked=True)
    yield judge(
        "BT-6a",
        chunked.status == good.status and chunked.body == good.body,
        f"in chunks: {chunked}",
    )
    yield from _probe_load(peer, subject, good)
    yield from _probe_refusals(peer, subject)


def _probe_ping(peer: Peer) -> Iterator[Verdict]:
    ping = peer.ask("GET", "/ping")
    yield judge("HO-4a", ping.status == 200, f"GET /ping: {ping}")
    posted = peer.ask("POST", "/ping", b"")
    yield judge("HO-4b", posted.status == 200, f"POST /ping: {posted}")
    yield judge("HO-4d", not ping.body, f"{len(ping.body)} bytes")
    connection = http.client.HTTPConnection(*peer.address, timeout=10)
    try:
        statuses = []
        for _ in range(2):
            connection.request("GET", "/ping")
            response = connection.getresponse()
            response.read()
            statuses.append(response.status)
            is_kept = not response.will_close
            if not is_kept:
                break
        yield judge(
            "HO-1b",
            is_kept,
            f"HTTP/{response.version / 10}; statuses on one connection: {statuses}",
        )
    except (OSError, http.client.HTTPException) as error:
        yield judge("HO-1b", False, f"{type(error).__name__}: {error}")
    finally:
        connection.close()


def _probe_paths(peer: Peer) -> Iterator[Verdict]:
    unknown = peer.ask("GET", "/no-such-path")
    yield judge("HO-16a", unknown.status == 404, f"GET /no-such-path: {unknown}")
    wrong = peer.ask("GET", "/invocations")
    yield judge("HO-16b", wrong.status == 405, f"GET /invocations: {wrong}")
    slashed = peer.ask("GET", "/ping/")
    yield judge("HO-16c", not 300 <= slashed.status < 400, f"GET /ping/: {slashed}")


def _probe_negotiation(peer: Peer, subject: Subject) -> Iterator[Verdict]:
    def is_fine(reply: Reply) -> bool:
        return 200 <= reply.status < 300

    strange = peer.ask(
        "POST",
        "/invocations",
        subject.body,
        {**_headers(subject), "X-Strange": "1", "Cookie": "a=b"},
    )
    yield judge("RQ-2a", is_fine(strange), f"with X-Strange and Cookie: {strange}")
    with_charset = _post(peer, subject, Content_Type=f"{subject.content_type}; charset=utf-8")
    yield judge(
        "RQ-3a", is_fine(with_charset), f"{subject.content_type}; charset=utf-8: {with_charset}"
    )
    upper = _post(peer, subject, Content_Type=subject.content_type.upper())
    yield judge("RQ-3b", is_fine(upper), f"{subject.content_type.upper()}: {upper}")
    unknown = _post(peer, subject, Content_Type=_NEVER)
    yield judge("RQ-3c", unknown.status == 415, f"Content-Type {_NEVER}: {unknown}")
    untyped = peer.ask("POST", "/invocations", subject.body, {"Accept": subject.accept})
    yield judge(
        "RQ-3d", untyped.status != 0 and untyped.status < 500, f"without Content-Type: {untyped}"
    )
    bare = peer.ask("POST", "/invocations", subject.body, {"Content-Type": subject.content_type})
    anything = _post(peer, subject, Accept="*/*")
    yield judge(
        "RQ-4a",
        is_fine(bare) and is_fine(anything),
        f"without Accept: {bare}; with */*: {anything}",
    )
    weighted = _post(peer, subject, Accept=f"{_NEVER};q=0.9, */*;q=0.1")
    yield judge("RQ-4b", is_fine(weighted), f"{_NEVER};q=0.9, */*;q=0.1: {weighted}")
    never = _post(peer, subject, Accept=_NEVER)
    yield judge("RQ-4c", never.status == 406, f"Accept {_NEVER}: {never}")
    attributes = {**_headers(subject), contract.CUSTOM_ATTRIBUTES_HEADER: "a" * 1024}
    long = peer.ask("POST", "/invocations", subject.body, attributes)
    yield judge("RQ-5a", is_fine(long), f"1024 characters: {long}")


def _probe_parameters(peer: Peer) -> Iterator[Verdict]:
    reply = peer.ask("GET", "/execution-parameters")
    if reply.status == 404:
        yield judge("BT-3a", True, "404: the platform's defaults count")
        yield skip("BT-4a", "there are no execution parameters")
        return
    try:
        document = json.loads(reply.body) if reply.status == 200 else None
    except ValueError:
        document = None
    yield judge("BT-3a", isinstance(document, dict), f"GET /execution-parameters: {reply}")
    if not isinstance(document, dict):
        yield skip("BT-4a", "there are no execution parameters")
        return
    names = {"MaxConcurrentTransforms", "BatchStrategy", "MaxPayloadInMB"}
    numbers = [document.get("MaxConcurrentTransforms"), document.get("MaxPayloadInMB")]
    is_right = (
        set(document) == names
        and document["BatchStrategy"] in ("MULTI_RECORD", "SINGLE_RECORD")
        and all(type(number) is int and number >= 0 for number in numbers)
        and document["MaxConcurrentTransforms"] * document["MaxPayloadInMB"] <= 100
    )
    yield judge("BT-4a", is_right, json.dumps(document))


def _probe_load(peer: Peer, subject: Subject, good: Reply) -> Iterator[Verdict]:
    """Parallel requests, and pings and connections while they are under way."""
    replies: list[Reply] = []
    pings: list[Reply] = []
    is_over = threading.Event()

    def ping() -> None:
        patient = Peer(peer.address, 4 * subject.waits.ping_s)
        while not is_over.is_set() or not pings:
            pings.append(patient.ask("GET", "/ping"))
            time.sleep(0.02)

    pinging = threading.Thread(target=ping)
    pinging.start()
    run_parallel(_PARALLEL_REQUESTS, lambda _: replies.append(_post(peer, subject)))
    is_over.set()
    pinging.join()
    wrong = [reply for reply in replies if (reply.status, reply.body) != (good.status, good.body)]
    yield judge(
        "HO-14a",
        not wrong,
        f"{len(replies)} at once; " + (f"one differs: {wrong[0]}" if wrong else "all alike"),
    )
    slowest = max(pings, key=lambda reply: reply.seconds)
    is_quick = all(reply.status == 200 and reply.seconds <= subject.waits.ping_s for reply in pings)
    yield judge("HO-4c", is_quick, f"{len(pings)} pings meanwhile; the slowest: {slowest}")
    yield _probe_accepting(peer, subject)


def _probe_accepting(peer: Peer, subject: Subject) -> Verdict:
    """Open many connections that say nothing while a request is under way."""
    request = threading.Thread(target=lambda: _post(peer, subject))
    request.start()
    opened: list[socket.socket] = []
    started = time.monotonic()
    refused = ""
    try:
        for _ in range(_WAITING_CONNECTIONS):
            opened.append(socket.create_connection(peer.address, ACCEPT_LIMIT_S))  # noqa: PERF401 - kept on error
    except OSError as error:
        refused = f"; then {type(error).__name__}"
    finally:
        for connection in opened:
            connection.close()
        request.join()
    evidence = f"{len(opened)} of {_WAITING_CONNECTIONS} opened in {time.monotonic() - started:.3f} s{refused}"
    return judge("HO-7a", not refused, evidence)


def _probe_refusals(peer: Peer, subject: Subject) -> Iterator[Verdict]:
    """Bad requests, the largest body, and whether the server lives on."""
    garbage = _post(peer, subject, _GARBAGE)
    yield judge("RQ-6a", 400 <= garbage.status < 500, f"{_GARBAGE[:12]!r}...: {garbage}")
    is_page = garbage.body.lstrip()[:1] == b"<"
    yield judge(
        "RQ-6b", bool(garbage.body.strip()) and not is_page, f"its body: {garbage.body[:100]!r}"
    )
    empty = _post(peer, subject, b"")
    yield judge(
        "RQ-8a", 400 <= empty.status < 500 or empty.status == 204, f"an empty body: {empty}"
    )
    shown = [
        reply for reply in (garbage, empty) if b"Traceback (most recent call last)" in reply.body
    ]
    yield judge(
        "SEC-4a", not shown, str(shown[0]) if shown else "none in the answers to bad requests"
    )
    large = subject.body.rstrip(b"\n")
    large += b" " * (contract.REALTIME_PAYLOAD_BYTES - len(large) - 1)
    reply = _post(peer, subject, large)
    yield judge(
        "HO-9a", reply.status not in (0, 413) and reply.status < 500, f"{len(large)} bytes: {reply}"
    )
    ping, again = peer.ask("GET", "/ping"), _post(peer, subject)
    is_alive = ping.status == 200 and 200 <= again.status < 300
    yield judge("RQ-8b", is_alive, f"afterwards, ping: {ping}; a good request: {again}")


STOP_IDS: Final = ("HO-10a", "HO-10b", "HO-10c")


def check_stop(subject: Subject) -> Iterator[Verdict]:
    """SIGTERM while a request is half sent."""
    with start(subject, "stop") as started:
        if started.healthy_after_s is None:
            for identity in STOP_IDS:
                yield skip(identity, "the server never got healthy")
            return
        container = started.server.container
        head = "".join(f"{name}: {value}\r\n" for name, value in _headers(subject).items())
        text = f"POST /invocations HTTP/1.1\r\nHost: local\r\n{head}Content-Length: {len(subject.body)}\r\n\r\n"
        cut = len(subject.body) // 2
        with socket.create_connection(container.address, 10) as connection:
            connection.sendall(text.encode() + subject.body[:cut])
            time.sleep(0.3)  # a server gives no sign that it has begun to read
            stopped = time.monotonic()
            container.send_signal(signal.SIGTERM)
            time.sleep(0.2)
            answer = _finish_request(connection, subject.body[cut:], subject.waits.serving_stop_s)
        code = container.wait(max(0.0, subject.waits.serving_stop_s - (time.monotonic() - stopped)))
        took_s = time.monotonic() - stopped
    yield judge(
        "HO-10a",
        code is not None,
        f"ended after {took_s:.1f} s" if code is not None else f"still there after {took_s:.1f} s",
    )
    yield judge(
        "HO-10b", b" 200 " in answer[:20], f"the request under way was answered {answer[:40]!r}"
    )
    yield judge("HO-10c", code == 0, f"exit code {code}")


def _finish_request(connection: socket.socket, rest: bytes, timeout_s: float) -> bytes:
    try:
        connection.sendall(rest)
        connection.settimeout(timeout_s)
        return connection.recv(4096)
    except OSError as error:
        return f"not at all: {error}".encode()


BROKEN_IDS: Final = ("HO-6b",)


def check_broken_model(subject: Subject) -> Iterator[Verdict]:
    """A model directory whose files hold nothing of use."""
    if subject.model is None:
        yield skip("HO-6b", "no model was given")
        return

    def damage(layout: contract.Layout) -> None:
        for path in [path for path in layout.model.rglob("*") if path.is_file()]:
            path.write_bytes(b"\x00 not a model")

    waits = subject.waits
    quick = Subject(
        **{**vars(subject), "waits": type(waits)(**{**vars(waits), "start_s": waits.unhealthy_s})}
    )
    with start(quick, "broken", amend=damage) as started:
        healthy = started.healthy_after_s
    yield judge(
        "HO-6b",
        healthy is None,
        started.failure or f"healthy after {healthy:.2f} s with a damaged model",
    )


WORKER_IDS: Final = ("HO-12a",)


def check_killed_worker(subject: Subject) -> Iterator[Verdict]:
    """A child process of the server is killed."""
    with start(subject, "killed-worker") as started:
        container = started.server.container
        workers = container.processes()[1:]
        if started.healthy_after_s is None or not workers:
            yield skip(
                "HO-12a",
                "the server has one process alone"
                if started.healthy_after_s
                else "it never got healthy",
            )
            return
        for pid in workers:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + subject.waits.unhealthy_s
        seen = ""
        while time.monotonic() < deadline:
            code = container.wait(0.1)
            ping, reply = started.server.ping()[0], _post(Peer(container.address, 5), subject)
            seen = f"{len(workers)} killed; ping {ping}, request {reply}, exit code {code}"
            if code is not None or ping != 200 or 200 <= reply.status < 300:
                yield judge("HO-12a", True, seen)
                return
        yield judge("HO-12a", False, seen)


BATCH_IDS: Final = ("BT-2a", "BT-8a", "BT-9a")


def check_batch(subject: Subject) -> Iterator[Verdict]:
    """A server of a batch transform job."""
    variables = {
        contract.BATCH_VARIABLE: "true",
        contract.BATCH_STRATEGY_VARIABLE: "MULTI_RECORD",
        contract.MAX_PAYLOAD_VARIABLE: "6",
        contract.MAX_CONCURRENT_TRANSFORMS_VARIABLE: "1",
    }
    with start(subject, "batch", environment=variables) as started:
        if started.healthy_after_s is None:
            yield judge("BT-2a", False, started.failure)
            yield skip("BT-8a", "it never got healthy")
            yield skip("BT-9a", "it never got healthy")
            return
        reply = _post(started.peer, subject)
        yield judge("BT-2a", 200 <= reply.status < 300, str(reply))
        if subject.content_type not in ("text/csv", "application/jsonlines"):
            yield skip("BT-8a", f"{subject.content_type} has no lines")
            yield skip("BT-9a", f"{subject.content_type} has no lines")
            return
        line = subject.body.splitlines()[0]
        several = _post(
            started.peer, subject, line + b"\n" + line + b"\n" + line, Accept=subject.content_type
        )
        if several.status == 406:
            yield skip("BT-8a", f"it does not answer in {subject.content_type}")
            yield skip("BT-9a", f"it does not answer in {subject.content_type}")
            return
        yield judge(
            "BT-8a", not several.body.endswith(b"\n"), f"the answer ends {several.body[-12:]!r}"
        )
        count = len(several.body.splitlines())
        yield judge(
            "BT-9a",
            several.status == 200 and count == 3,
            f"3 lines were sent, {count} came back; {several}",
        )


ISOLATED_IDS: Final = ("SEC-1b",)


def check_isolated(subject: Subject) -> Iterator[Verdict]:
    """A server without a way out."""
    if subject.image is None:
        yield skip(
            "SEC-1b", "a program's server cannot be shut off and reached at once; use --image"
        )
        return
    with start(subject, "isolated-server", is_isolated=True) as started:
        reply = _post(started.peer, subject) if started.healthy_after_s is not None else None
    yield judge(
        "SEC-1b",
        reply is not None and 200 <= reply.status < 300,
        str(reply) if reply else started.failure,
    )


MULTI_MODEL_IDS: Final = ("MME-6a", "MME-3a", "MME-2a", "MME-2b", "MME-2c", "MME-4a", "MME-5a")


def check_multi_model(subject: Subject) -> Iterator[Verdict]:
    """A server of a multi-model endpoint: nothing loaded, one model, none again."""
    if not subject.is_multi_model:
        for identity in MULTI_MODEL_IDS:
            yield skip(
                identity, "the container does not say that it serves several models (IMG-12)"
            )
        return

    def move(layout: contract.Layout) -> None:
        target = layout.models / "one" / "model"
        target.parent.mkdir(parents=True)
        layout.model.rename(target)
        layout.model.mkdir()

    variables = {contract.MULTI_MODEL_VARIABLE: "true"}
    with start(subject, "multi-model", environment=variables, amend=move) as started:
        yield judge(
            "MME-6a",
            started.healthy_after_s is not None,
            started.failure or "200 with nothing loaded",
        )
        if started.healthy_after_s is None:
            for identity in MULTI_MODEL_IDS[1:]:
                yield skip(identity, "it never got healthy")
            return
        assert subject.runner is not None  # noqa: S101 - start needs one
        seen_at = f"{subject.runner.mount_point(started.root)}/models"
        yield from _probe_models(started.peer, subject, seen_at)


def _probe_models(peer: Peer, subject: Subject, seen_at: str) -> Iterator[Verdict]:
    def load(name: str) -> Reply:
        order = json.dumps({"model_name": name, "url": f"{seen_at}/{name}/model"}).encode()
        return peer.ask("POST", "/models", order, {"Content-Type": "application/json"})

    def names() -> list[Any] | None:
        reply = peer.ask("GET", "/models")
        try:
            return (
                [model["modelName"] for model in json.loads(reply.body)["models"]]
                if reply.status == 200
                else None
            )
        except (ValueError, KeyError, TypeError):
            return None

    first = names()
    loaded = load("one")
    answer = peer.ask("POST", "/models/one/invoke", subject.body, _headers(subject))
    second = names()
    yield judge(
        "MME-3a",
        first == [] and second == ["one"],
        f"GET /models gave {first}, and after one was loaded {second}",
    )
    yield judge(
        "MME-2a",
        loaded.status == 200 and answer.status == 200,
        f"POST /models: {loaded}; then invoked: {answer}",
    )
    again = load("one")
    yield judge("MME-2b", again.status == 409, f"once more: {again}")
    missing = load("two")
    yield judge("MME-2c", missing.status in (400, 404), f"a model that is not there: {missing}")
    gone = peer.ask("DELETE", "/models/one")
    yield judge(
        "MME-4a",
        gone.status == 200 and names() == [],
        f"DELETE: {gone}; GET /models then gave {names()}",
    )
    unloaded = peer.ask("POST", "/models/one/invoke", subject.body, _headers(subject))
    yield judge("MME-5a", unloaded.status == 404, f"invoked after that: {unloaded}")


Session = Callable[[Subject], Iterator[Verdict]]

SESSIONS: Final[tuple[tuple[tuple[str, ...], Session], ...]] = (
    (START_IDS, check_start),
    (PROTOCOL_IDS, check_protocol),
    (STOP_IDS, check_stop),
    (BROKEN_IDS, check_broken_model),
    (WORKER_IDS, check_killed_worker),
    (BATCH_IDS, check_batch),
    (ISOLATED_IDS, check_isolated),
    (MULTI_MODEL_IDS, check_multi_model),
)
