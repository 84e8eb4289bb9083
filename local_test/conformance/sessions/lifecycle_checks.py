"""Checks of a server's start, its stop, a model that does not load, and a worker that dies."""

import contextlib
import dataclasses
import os
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from container import contract
from local_test.conformance.catalog import Verdict, judge, skip, skip_all
from local_test.conformance.sessions.exchange import Peer, Reply, headers_of
from local_test.conformance.sessions.server_session import Started, start
from local_test.conformance.subject import Sessions, Subject
from local_test.endpoints.client import is_listening
from local_test.runners import procfs

_NEVER_HEALTHY: Final = "it never became healthy"
START_IDS: Final = ("IMG-1b", "HO-1a", "HO-5a", "HO-6a", "HO-2a")


@dataclass(frozen=True)
class _Seen:
    """What was seen of a server's first seconds; of a writable start, if only that one is good."""

    evidence: str
    reply: Reply
    later: Reply
    """The answer to the same request after a while."""
    ping_status: int
    """Of the last ping; 0 if it was not answered."""
    is_running: bool
    is_reached: bool
    is_healthy: bool
    is_answered: bool
    needs_writable: bool = False


def check_start(subject: Subject) -> Iterator[Verdict]:
    """A server's first seconds, with a model directory that is read-only where that is possible."""
    if subject.runner is None:  # it runs elsewhere, and has started long ago
        return
    seen = _watch_start(subject)
    # A server that fails has one cause, and one verdict names it.
    yield judge("IMG-1b", seen.is_running, seen.evidence)
    if not seen.is_running:
        yield from skip_all(START_IDS[1:], "the server ended (IMG-1b)")
        return
    yield judge("HO-1a", seen.is_reached, seen.evidence)
    if not seen.is_reached:
        yield from skip_all(START_IDS[2:], "the server cannot be reached (HO-1a)")
        return
    if 300 <= seen.ping_status < 500:
        yield judge("HO-4a", False, seen.evidence)
        yield from skip_all(START_IDS[2:], "the server does not answer /ping (HO-4a)")
        return
    yield judge("HO-5a", seen.is_healthy, seen.evidence)
    if not seen.is_healthy:
        yield from skip_all(START_IDS[3:], _NEVER_HEALTHY)
        return
    yield _judge_first_request(seen)
    if subject.can_protect:
        protected = f"with a read-only model directory: {seen.evidence}; {seen.reply}"
        yield judge("HO-2a", not seen.needs_writable, protected)
    else:
        yield skip("HO-2a", "this machine cannot make directories read-only for a program")


def _watch_start(subject: Subject) -> _Seen:
    with start(subject, "start") as started:
        evidence = started.failure or f"200 after {started.healthy_after_s:.2f} s"
        reply = _ask_once(started, subject)
        later = _ask_until_good(started, subject)
        is_running = started.server.container.wait(0) is None
        status = 200 if started.is_healthy else started.server.ping()[0]
        is_reached = status != 0 or is_listening(started.server.container.address)
    seen = _Seen(
        evidence, reply, later, status, is_running, is_reached, started.is_healthy, reply.is_good
    )
    log = (subject.directory / "start.log").read_text(encoding="utf-8", errors="replace")
    # A server that hangs costs the whole start limit, so it needs a sign.
    may_need_writable = started.is_healthy or not is_running or "read-only" in log.lower()
    if reply.is_good or not subject.can_protect or not may_need_writable:
        return seen
    with start(subject, "start-writable", is_writable=True) as writable:
        if not _ask_once(writable, subject).is_good:
            return seen
    return _Seen(evidence, reply, later, 200, True, True, True, True, needs_writable=True)


def _judge_first_request(seen: _Seen) -> Verdict:
    evidence = f"the first request after the first 200: {seen.reply}"
    if seen.is_answered or seen.later.is_good:
        return judge("HO-6a", seen.is_answered, f"{evidence}; later: {seen.later}")
    return skip("HO-6a", f"{evidence}; it is refused later, too (RQ-1a): {seen.later}")


def _ask_until_good(started: Started, subject: Subject) -> Reply:
    """Repeat the valid request until it is answered, for as long as a start is watched."""
    deadline = time.monotonic() + subject.waits.unhealthy_s
    reply = _ask_once(started, subject)
    while started.is_healthy and not reply.is_good and time.monotonic() < deadline:
        if 400 <= reply.status < 500:  # it would be refused again
            return reply
        time.sleep(0.1)
        reply = _ask_once(started, subject)
    return reply


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
        before = started.peer.post(subject)
        container = started.server.container
        head = "".join(f"{name}: {value}\r\n" for name, value in headers_of(subject).items())
        request_line = "POST /invocations HTTP/1.1\r\nHost: local\r\n"
        text = f"{request_line}{head}Content-Length: {len(subject.body)}\r\n\r\n"
        cut = len(subject.body) // 2
        with socket.create_connection(container.address, 10) as connection:
            connection.sendall(text.encode() + subject.body[:cut])
            time.sleep(0.3)  # nothing shows that a server has begun to read
            first = container.processes()[:1]
            is_deaf = bool(first) and procfs.handles_signal(first[0], signal.SIGTERM) is False
            stopped = time.monotonic()
            container.send_signal(signal.SIGTERM)
            time.sleep(0.2)
            answer = _finish_request(connection, subject.body[cut:], subject.waits.serving_stop_s)
        code = container.wait(max(0.0, subject.waits.serving_stop_s - (time.monotonic() - stopped)))
        took_s = time.monotonic() - stopped
    ended = "still running" if code is None else "it exited"
    evidence = f"{ended} after {took_s:.1f} s"
    if is_deaf:
        evidence += (
            "; its first process does not handle SIGTERM, and process 1 of a container has no "
            "default action"
        )
    yield judge("HO-10a", code is not None and not is_deaf, evidence)
    if code is None or is_deaf:
        yield from skip_all(STOP_IDS[1:], "it did not hear SIGTERM (HO-10a)")
        return
    if before.status:
        status = answer.partition(b" ")[2][:3].decode("ascii", "replace")
        answered = f"the answer to the request in flight: {answer[:40]!r}; before: {before.status}"
        yield judge("HO-10b", status == str(before.status), answered)
    else:
        yield skip("HO-10b", f"the same request before the stop: {before}")
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
            yield skip("HO-12a", "no child process of the server is seen on this machine")
            return
        before = started.peer.post(subject)
        if not before.is_good:
            yield skip("HO-12a", f"the valid request is refused: {before}")
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
