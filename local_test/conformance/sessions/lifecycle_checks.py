"""Checks of a server's start, its stop, a model that does not load, and a worker that dies."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import socket
import time
from collections.abc import Iterator
from typing import Final

from container import contract
from local_test.conformance.catalog import Verdict, judge, skip, skip_all
from local_test.conformance.sessions.exchange import Peer, Reply, headers_of
from local_test.conformance.sessions.server_session import Started, start
from local_test.conformance.subject import Sessions, Subject

_NEVER_HEALTHY: Final = "it never became healthy"
START_IDS: Final = ("IMG-1b", "HO-1a", "HO-5a", "HO-6a", "HO-2a")


def check_start(subject: Subject) -> Iterator[Verdict]:
    """A server's first seconds, with a model directory that is read-only where that is possible."""
    with start(subject, "start") as started:
        evidence = started.failure or f"200 after {started.healthy_after_s:.2f} s"
        reply = _ask_once(started, subject)
        is_running = started.server.container.wait(0) is None
        is_reached = started.is_healthy or started.server.ping()[0] != 0
    is_good_when_writable = False
    if not reply.is_good and subject.can_protect:
        with start(subject, "start-writable", is_writable=True) as writable:
            is_good_when_writable = _ask_once(writable, subject).is_good
    yield judge("IMG-1b", is_running or is_good_when_writable, evidence)
    yield judge("HO-1a", is_reached or not is_running, evidence)
    yield judge("HO-5a", started.is_healthy or is_good_when_writable, evidence)
    if started.is_healthy:
        first = f"the first request after the first 200: {reply}"
        yield judge("HO-6a", reply.is_good or is_good_when_writable, first)
    else:
        yield skip("HO-6a", _NEVER_HEALTHY)
    if subject.can_protect:
        protected = f"with a read-only model directory: {evidence}; {reply}"
        yield judge("HO-2a", not is_good_when_writable, protected)
    else:
        yield skip("HO-2a", "this machine cannot make directories read-only for a program")


def _ask_once(started: Started, subject: Subject) -> Reply:
    if not started.is_healthy:
        return Reply(0, error="never healthy")
    return started.peer.post(subject)


STOP_IDS: Final = ("HO-10a", "HO-10b", "HO-10c")


def check_stop(subject: Subject) -> Iterator[Verdict]:
    """SIGTERM while a request is half sent."""
    with start(subject, "stop") as started:
        if not started.is_healthy:
            yield from skip_all(STOP_IDS, "the server never became healthy")
            return
        container = started.server.container
        head = "".join(f"{name}: {value}\r\n" for name, value in headers_of(subject).items())
        request_line = "POST /invocations HTTP/1.1\r\nHost: local\r\n"
        text = f"{request_line}{head}Content-Length: {len(subject.body)}\r\n\r\n"
        cut = len(subject.body) // 2
        with socket.create_connection(container.address, 10) as connection:
            connection.sendall(text.encode() + subject.body[:cut])
            time.sleep(0.3)  # nothing shows that a server has begun to read
            stopped = time.monotonic()
            container.send_signal(signal.SIGTERM)
            time.sleep(0.2)
            answer = _finish_request(connection, subject.body[cut:], subject.waits.serving_stop_s)
        code = container.wait(max(0.0, subject.waits.serving_stop_s - (time.monotonic() - stopped)))
        took_s = time.monotonic() - stopped
    ended = "still running" if code is None else "it exited"
    yield judge("HO-10a", code is not None, f"{ended} after {took_s:.1f} s")
    answered = f"the answer to the request in flight: {answer[:40]!r}"
    yield judge("HO-10b", b" 200 " in answer[:20], answered)
    yield judge("HO-10c", code == 0, f"exit code {code}")


def _finish_request(connection: socket.socket, rest: bytes, timeout_s: float) -> bytes:
    try:
        connection.sendall(rest)
        connection.settimeout(timeout_s)
        return connection.recv(4096)
    except OSError as error:
        return f"no answer: {error}".encode()


BROKEN_IDS: Final = ("HO-6b",)


def check_broken_model(subject: Subject) -> Iterator[Verdict]:
    """A model directory whose files are damaged."""
    if subject.model is None:
        yield skip("HO-6b", "no model was given")
        return
    waits = dataclasses.replace(subject.waits, start_s=subject.waits.unhealthy_s)
    with start(dataclasses.replace(subject, waits=waits), "broken", amend=_damage) as started:
        pass
    evidence = started.failure or f"healthy after {started.healthy_after_s:.2f} s, model damaged"
    yield judge("HO-6b", not started.is_healthy, evidence)


def _damage(layout: contract.Layout) -> None:
    for path in [path for path in layout.model.rglob("*") if path.is_file()]:
        path.write_bytes(b"\x00 not a model")


WORKER_IDS: Final = ("HO-12a",)


def check_killed_worker(subject: Subject) -> Iterator[Verdict]:
    """The server's child processes are killed."""
    with start(subject, "killed-worker") as started:
        container = started.server.container
        workers = container.processes()[1:]
        if not started.is_healthy:
            yield skip("HO-12a", _NEVER_HEALTHY)
            return
        if not workers:
            yield skip("HO-12a", "the server has only one process")
            return
        for pid in workers:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + subject.waits.unhealthy_s
        seen = ""
        while time.monotonic() < deadline:
            code = container.wait(0.1)
            ping = started.server.ping()[0]
            reply = Peer(container.address, 5).post(subject)
            seen = f"{len(workers)} killed; ping {ping}, request {reply}, exit code {code}"
            if code is not None or ping != 200 or reply.is_good:
                yield judge("HO-12a", True, seen)
                return
        yield judge("HO-12a", False, seen)


SESSIONS: Sessions = (
    (START_IDS, check_start),
    (STOP_IDS, check_stop),
    (BROKEN_IDS, check_broken_model),
    (WORKER_IDS, check_killed_worker),
)
