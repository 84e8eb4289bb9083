"""How many requests wait for user code, and that nobody waits for what will not come."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from container.serving.server_settings import Settings
from container.serving.telemetry.metrics import Metrics
from container.serving.user_code import handlers
from container.serving.user_code.turns import UserCode
from tests.support import wait_until
from tests.unit.container.serving.event_worker.test_turns import POST, Worker

PLAIN = """
import threading

def model_fn(model_dir):
    return threading.Event()

def input_fn(data, content_type):
    return data

def output_fn(prediction, accept):
    return prediction
"""
ASYNC = """
import asyncio

async def predict_fn(data, model):
    while not model.is_set():
        await asyncio.sleep(0.001)
    return b"ok"
"""
BATCHES = """
def predict_batch_fn(rows, model):
    model.wait()
    return [b"ok"] * len(rows)
"""
ALONE = """
def predict_fn(data, model):
    model.wait()
    return b"ok"
"""
CANCELLED = """
import asyncio

async def predict_fn(data, model):
    task = asyncio.ensure_future(asyncio.sleep(60))
    await asyncio.sleep(0)
    task.cancel()
    return await task
"""


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Worker]]:
    made: list[Worker] = []

    def start(code: str) -> Worker:
        name = f"user_calls_{tmp_path.name}"
        monkeypatch.syspath_prepend(str(tmp_path))
        (tmp_path / f"{name}.py").write_text(PLAIN + code)
        found = handlers.Handlers(tmp_path / f"{name}.py", tmp_path)
        settings = Settings(queue_requests=2)
        user_code = UserCode(found, settings, Metrics(1, {}))
        worker = Worker(user_code, settings)
        made.append(worker)
        user_calls = worker.loop._lanes.user_calls  # noqa: SLF001 - as `Loop.run` does
        worker.loop._predictions.run_aside(user_calls.adopt)  # noqa: SLF001 - the same
        wait_until(lambda: user_calls._user_code is not None)  # noqa: SLF001 - the same
        return worker

    yield start
    for worker in made:
        found = worker.service.application.handlers
        found._model.set()  # noqa: SLF001 - lets the handler go on
        if found.coroutines is not None:  # their thread closes the loop
            found.coroutines.loop.call_soon_threadsafe(found.coroutines.loop.stop)
        worker.close()


def send(worker: Worker) -> socket.socket:
    client, _ = worker.connect()
    client.sendall(POST)
    worker.turn()
    return client


def read(worker: Worker, client: socket.socket) -> bytes:
    received = bytearray()
    client.setblocking(False)  # noqa: FBT003 - the socket's API

    def has_answer() -> bool:
        worker.turn()
        try:
            received.extend(client.recv(65_536))
        except BlockingIOError:
            return False
        return True

    wait_until(has_answer)
    return bytes(received)


@pytest.mark.parametrize("code", [ASYNC, BATCHES, ALONE], ids=["async", "batches", "alone"])
def test_a_full_queue_is_503_however_the_code_is_called(
    start: Callable[[str], Worker], code: str
) -> None:
    worker = start(code)
    waiting = [send(worker) for _ in range(2)]
    refused = read(worker, send(worker))
    assert refused.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nRetry-After: 1\r\n" in refused
    assert b"2 requests are waiting already" in refused

    model: Any = worker.service.application.handlers._model  # noqa: SLF001 - lets it go on
    model.set()
    for client in waiting:
        assert read(worker, client).startswith(b"HTTP/1.1 200 OK\r\n")
    assert worker.loop._predictions.waiting == 0  # noqa: SLF001 - nothing is left
    assert read(worker, send(worker)).startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_handler_that_is_cancelled_by_itself_is_answered(start: Callable[[str], Worker]) -> None:
    worker = start(CANCELLED)
    assert read(worker, send(worker)).startswith(b"HTTP/1.1 500 ")
    assert worker.loop._predictions.waiting == 0  # noqa: SLF001 - nothing is left
