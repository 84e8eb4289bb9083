"""How the server calls handlers: on one thread, in batches, as coroutines, and as streams."""

from __future__ import annotations

import http.client
import json
import socket
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support import USER_CODE, wait_for, wait_until

CLIENTS = 16


def start(serve: Any, directory: Path, name: str, **environ: str) -> Any:
    code = directory / "model/code"
    code.mkdir(parents=True)
    (code / "inference.py").write_text((USER_CODE / name).read_text())
    return serve(directory, SAGEMAKER_MODEL_SERVER_WORKERS="1", **environ)


@pytest.fixture
def server(request: pytest.FixtureRequest, serve: Any, tmp_path: Path) -> Iterator[Any]:
    name, environ = request.param
    with start(serve, tmp_path, name, **environ) as running:
        yield running


def post(server: Any, body: str) -> tuple[int, str]:
    status, _, answer = server.request("POST", "/invocations", body.encode())
    return status, answer.decode()


def post_all(server: Any, bodies: list[str]) -> list[tuple[int, str]]:
    with ThreadPoolExecutor(len(bodies)) as pool:
        return list(pool.map(lambda body: post(server, body), bodies))


def metric(server: Any, line: str) -> float:
    _, _, page = server.request("GET", "/metrics")
    found = [text for text in page.decode().splitlines() if text.startswith(line + " ")]
    return float(found[0].split()[-1]) if found else 0.0


SYNC = ("lanes_inference.py", {})
EVENT = pytest.mark.parametrize("server", [SYNC], indirect=True, ids=["event"])
SHELLS = pytest.mark.parametrize(
    "server",
    [SYNC, ("lanes_inference.py", {"SAGEMAKER_GUNICORN_WORKER_CLASS": "gthread"})],
    indirect=True,
    ids=["event", "gthread"],
)


@EVENT
def test_quick_handlers_stay_on_the_thread_of_their_model_and_slow_ones_leave_the_loop(
    server: Any, tmp_path: Path
) -> None:
    """The first requests go to the thread; then the loop moves to it, and is taken back."""
    for number in range(60):
        answer = json.loads(post(server, f"quick {number}")[1])
        assert answer == {"thread": True, "together": 1, "echo": f"quick {number}"}
    with ThreadPoolExecutor(CLIENTS) as pool:
        begun = tmp_path / "begun"
        slow = pool.submit(post, server, f"wait {begun}")
        wait_until(begun.exists)
        for _ in range(5):
            assert server.request("GET", "/ping")[0] == 200, "the loop waited for the handler"
        assert not slow.done()
        begun.unlink()
        assert json.loads(slow.result()[1])["thread"]
        bodies = [f"quick {client}" for client in range(CLIENTS)] * 5
        answers = [json.loads(text) for _, text in pool.map(lambda b: post(server, b), bodies)]
    assert [answer["echo"] for answer in answers] == bodies
    assert all(answer["thread"] and answer["together"] == 1 for answer in answers)
    asked = 'serving_custom_count{name="asked"}'
    wait_until(lambda: metric(server, asked) == 61 + len(bodies))
    assert metric(server, "serving_model_load_seconds") > 0
    for stage in ("decode", "predict", "encode", "request"):
        count = metric(server, f'serving_stage_seconds_count{{stage="{stage}"}}')
        assert count == 61 + len(bodies)


@pytest.mark.parametrize(
    "server", [("lanes_inference.py", {"BYO_HANDLER_THREADS": "8"})], indirect=True
)
def test_handlers_that_expect_it_are_called_by_several_threads(server: Any) -> None:
    bodies = [f"sleep 0.{client}5" for client in range(8)]
    together = wait_for(
        lambda: max(json.loads(text)["together"] for _, text in post_all(server, bodies)),
        lambda count: count > 1,
    )
    assert together <= 8


@SHELLS
def test_stream_of_a_handler_is_sent_as_it_is_made(server: Any) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("POST", "/invocations", b"stream data:a 1 data:b")
    response = connection.getresponse()
    assert response.getheader("Content-Type") == "text/event-stream"
    assert response.getheader("Transfer-Encoding") == "chunked"
    assert response.read1() == b"data:a\n", "it came before the rest was made"
    assert response.read() == b"1\ndata:b\n"
    connection.close()
    assert post(server, "stream") == (200, "")
    assert post(server, "stream a b") == (200, "a\nb\n")
    status, answer = post(server, "stream ! a")
    assert status == 500, "nothing was sent yet, so the status can say it"
    assert "secret" not in answer
    with pytest.raises((http.client.HTTPException, OSError)):
        post(server, "stream a !")
    wait_until(lambda: "a secret of the stream" in server.log.read_text())
    assert json.loads(post(server, "again")[1])["echo"] == "again"


@SHELLS
def test_stream_ends_when_its_client_leaves(server: Any) -> None:
    """Before the first piece, and in the middle of a stream that has no end."""
    for words, reads in ((b"0.3 endless", False), (b"endless", True)):
        client = socket.create_connection(("127.0.0.1", server.port))
        head = f"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Length: {len(words) + 7}\r\n\r\n"
        client.sendall(head.encode() + b"stream " + words)
        if reads:
            assert client.recv(100).startswith(b"HTTP/1.1 200")
        reset = struct.pack("ii", 1, 0)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        client.close()
    wait_for(lambda: json.loads(post(server, "next")[1]), lambda told: told.get("together") == 1)
    # The first request is not counted if its end was seen before the handler was called.
    wait_for(
        lambda: metric(server, 'serving_stage_seconds_count{stage="request"}'),
        lambda count: count >= 2,
    )


ASYNC = pytest.mark.parametrize(
    "server",
    [
        ("async_inference.py", {}),
        ("async_inference.py", {"SAGEMAKER_GUNICORN_WORKER_CLASS": "gthread"}),
    ],
    indirect=True,
    ids=["event", "gthread"],
)


@ASYNC
def test_coroutines_answer_many_requests_at_the_same_time(server: Any) -> None:
    answers = post_all(server, [f"meet {CLIENTS - 4}"] * (CLIENTS - 4))
    assert answers == [(200, "meet")] * (CLIENTS - 4)
    assert post(server, "stream a b c") == (200, "a\nb\nc\n")
    assert post(server, "stream ! a")[0] == 500
    with pytest.raises((http.client.HTTPException, OSError)):
        post(server, "stream a !")
    wait_until(lambda: "a secret of the stream" in server.log.read_text())


@pytest.mark.parametrize("server", [("batch_inference.py", {})], indirect=True)
def test_requests_are_predicted_together_and_a_failing_batch_one_by_one(server: Any) -> None:
    assert post(server, "a") == (200, "aa of 1")
    bodies = [f"<{client}>" for client in range(CLIENTS - 1)]
    answers = post_all(server, [*bodies, "bad"])
    assert answers.pop()[0] == 500
    for body, (status, answer) in zip(bodies, answers, strict=True):
        assert status == 200
        assert answer.startswith(f"{body}{body} of "), "it got another client's answer"
    wait_for(
        lambda: max(int(answer.rsplit(" ", 1)[1]) for _, answer in post_all(server, bodies)),
        lambda size: size > 1,
    )
    assert metric(server, "serving_batch_requests_count") >= 3
    assert "a secret of the batch" in server.log.read_text()
