"""A model's process, played by a program of a few lines, seen from the endpoint."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from container.errors import RequestError, UserError
from container.serving.exchange import Request, Response
from container.serving.many_models import wire
from container.serving.many_models.model_process import ModelProcess
from container.serving.many_models.template import Child
from tests.support import ROOT, wait_until

PROGRAM = """
import os, signal, socket, sys, threading, time
sys.path.insert(0, {root!r})
from container.serving.exchange import Response
from container.serving.many_models import wire
control = socket.socket(fileno=int(sys.argv[1]))
def serve(connection):
    while True:
        request = wire.receive_request(connection)
        if request.body == b"die once" and not os.path.exists({mark!r}):
            open({mark!r}, "w").close()
            os.kill(0, signal.SIGKILL)
        if request.body == b"die":
            os._exit(9)
        if request.body == b"hang":
            time.sleep(600)
        wire.send_response(connection, Response(200, request.body + b" %d" % os.getpid()))
{before}
wire.send(control, {head!r})
while files := socket.recv_fds(control, 1, 1)[1]:
    threading.Thread(
        target=serve, args=(socket.socket(fileno=files[0]),), daemon=True
    ).start()
"""


Start = Callable[..., ModelProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return what starts a model's process, and end all of them."""
    started = []

    def run(
        before: str = "",
        head: dict[str, str] | None = None,
        timeout_s: float = 60,
        requests_maximum: int = 8,
    ) -> ModelProcess:
        mark = str(tmp_path / "has-died")
        text = PROGRAM.format(root=str(ROOT), mark=mark, before=before, head=head or {})
        process = ModelProcess(
            "a",
            lambda: fork(text),
            timeout_s=timeout_s,
            requests_maximum=requests_maximum,
            observe=lambda response, _: answers.append(response.status),
        )
        started.append(process)
        return process

    answers: list[int] = []
    yield run
    for process in started:
        process.close(wait_s=0)


def fork(text: str) -> Child:
    """Start a program, and tell of it what the template would."""
    control, its_control = socket.socketpair()
    fate, its_fate = socket.socketpair()
    with its_control:
        process = subprocess.Popen(
            [sys.executable, "-c", text, str(its_control.fileno())],
            pass_fds=[its_control.fileno()],
            start_new_session=True,
        )

    def report() -> None:
        code = process.wait()
        with its_fate, contextlib.suppress(OSError):  # nobody may want to know any more
            wire.send(its_fate, {"code": code})

    wire.send(its_fate, {"pid": process.pid})
    threading.Thread(target=report).start()
    return Child(control, fate)


def ask(process: ModelProcess, body: bytes) -> Response:
    return process.invoke(Request(body, {}))


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_requests_are_answered_at_the_same_time_and_the_process_goes_with_its_model(
    start: Start,
) -> None:
    process = start()
    process.wait_until_loaded()
    pid = process.pid
    threads = [threading.Thread(target=ask, args=(process, b"1")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert ask(process, b"x").body == b"x %d" % pid
    process.close()
    assert not is_running(pid)
    with pytest.raises(RequestError, match="was unloaded") as caught:
        ask(process, b"x")
    assert caught.value.status == 404


def test_a_model_that_cannot_be_loaded_says_why_and_leaves_no_process(start: Start) -> None:
    for process, reason in [
        (start(head={"error": "no such file"}), "no such file"),
        (start(before="os._exit(7)"), "exited with code 7 while it loaded"),
        (start(before="os.kill(os.getpid(), 11)"), "ended by signal 11"),
    ]:
        with pytest.raises(UserError, match=reason):
            process.wait_until_loaded()
        assert not is_running(process.pid)


def test_a_process_that_died_is_replaced_and_the_request_repeated(start: Start) -> None:
    process = start()
    process.wait_until_loaded()
    first = process.pid
    answer = ask(process, b"die once")
    assert (answer.status, process.pid == first) == (200, False)

    os.kill(process.pid, signal.SIGKILL)
    assert ask(process, b"x").status == 200


def test_a_request_that_ends_every_process_is_a_500_and_the_next_is_answered(start: Start) -> None:
    process = start()
    process.wait_until_loaded()

    answer = ask(process, b"die")
    assert answer.status == 500
    assert b"exited with code 9 on this request" in answer.body
    assert ask(process, b"x").status == 200


def test_a_request_that_hangs_is_given_up_with_its_process(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("container.serving.many_models.model_process._ANSWER_S", 0.05)
    process = start(timeout_s=0.01)
    process.wait_until_loaded()
    first = process.pid

    assert ask(process, b"hang").status == 503
    assert not is_running(first)


def test_a_model_with_many_requests_refuses_more_and_an_unload_cuts_them_off(start: Start) -> None:
    process = start(requests_maximum=1)
    process.wait_until_loaded()
    refused: list[int] = []

    def hang() -> None:
        with pytest.raises(RequestError) as caught:
            ask(process, b"hang")
        refused.append(caught.value.status)

    thread = threading.Thread(target=hang)
    thread.start()
    wait_until(lambda: not process.is_idle)
    with pytest.raises(RequestError, match="wait for model 'a'") as caught:
        ask(process, b"x")
    process.close(wait_s=0)
    thread.join()

    assert (caught.value.status, refused) == (503, [404])


def test_a_connection_that_is_free_after_the_end_is_closed(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive_response = wire.receive_response
    used = []

    def receive(connection: socket.socket) -> Response:
        used.append(connection)
        response = receive_response(connection)
        process.close(wait_s=0)
        return response

    process = start()
    process.wait_until_loaded()
    monkeypatch.setattr(wire, "receive_response", receive)
    assert ask(process, b"x").status == 200
    assert used[0].fileno() == -1


def test_what_is_closed_while_it_loads_gave_way_to_memory(start: Start) -> None:
    process = start(before="time.sleep(600)")
    threading.Timer(0.1, process.close, kwargs={"reason": "memory is short", "wait_s": 0}).start()
    with pytest.raises(MemoryError):
        process.wait_until_loaded()
    assert not is_running(process.pid)


def test_processes_that_a_model_started_end_with_it(start: Start, tmp_path: Path) -> None:
    note = tmp_path / "child"
    process = start(
        before=f"import subprocess; child = subprocess.Popen(['sleep', '600']); "
        f"open({str(note)!r}, 'w').write(str(child.pid))"
    )
    process.wait_until_loaded()
    child = int(note.read_text())
    process.close()

    def has_ended() -> bool:
        status = Path(f"/proc/{child}/stat")
        return not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z"

    wait_until(has_ended)
