"""When the event loop calls user code itself, and when a stream's turn ends."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from container.serving.app import create_app
from container.serving.exchange import Request
from container.serving.server_settings import Settings
from container.serving.telemetry.metrics import Metrics
from container.serving.user_code import handlers
from container.serving.user_code.turns import Pace, UserCode

HANDLERS = """
def model_fn(model_dir):
    return None

def input_fn(data, content_type):
    return data.decode()

def predict_fn(data, model):
    return words() if data == "stream" else data

def output_fn(prediction, accept):
    return prediction, "text/plain"

def words():
    while True:
        yield "word"
"""


@pytest.fixture(scope="module")
def user_code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UserCode]:
    directory = tmp_path_factory.mktemp("turns")
    module = directory / "turns_inference.py"
    module.write_text(HANDLERS)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(directory))
        found = handlers.Handlers(module, directory)
        yield UserCode(found, Settings(timeout_s=1), Metrics(1, {}))


def test_code_is_quick_after_some_quick_calls_and_until_calls_are_slow_on_average() -> None:
    pace = Pace()
    for _ in range(15):
        pace.observe(0.0001)
        assert not pace.is_quick, "it is still being measured"
    pace.observe(0.0001)
    assert pace.is_quick
    pace.observe(0.01)
    assert pace.is_quick, "one slow call says little"
    for _ in range(16):
        pace.observe(0.01)
    assert not pace.is_quick
    for _ in range(16):
        pace.observe(0.0001)
    assert pace.is_quick
    pace.observe(1.0)
    assert not pace.is_quick, "a call that takes so long is enough"


def test_measurements_that_wait_for_another_thread_now_and_then_do_not_hide_quick_code() -> None:
    pace = Pace()
    for number in range(16):
        pace.observe(0.005 if number % 3 == 0 else 0.0002)
    assert pace.is_quick


def assert_turn_is_free(user_code: UserCode) -> None:
    assert user_code.invoke(Request(b"next", {})).status == 200


@pytest.mark.parametrize("pieces", [0, 1, 2])
def test_stream_that_is_closed_gives_its_turn_back_once_also_unstarted(
    user_code: UserCode, pieces: int
) -> None:
    response = user_code.invoke(Request(b"stream", {}, can_stream=True))
    for _ in range(pieces):
        next(response.rest)
    response.rest.close()
    response.rest.close()
    assert_turn_is_free(user_code)


@pytest.mark.parametrize("pieces", [0, 1, 2])
def test_client_of_flask_may_leave_before_the_first_piece(user_code: UserCode, pieces: int) -> None:
    """A server closes what it has been given, wherever it has come to."""
    body = b"stream"
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/invocations",
        "SERVER_NAME": "a",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "CONTENT_LENGTH": str(len(body)),
    }
    app = create_app(user_code)
    answer: Any = app(environ, lambda *_: None)
    iterator = iter(answer)
    for _ in range(pieces):
        assert next(iterator) == b"word"
    answer.close()
    assert_turn_is_free(user_code)


def test_answer_that_flask_refuses_gives_the_turn_back(
    user_code: UserCode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No response is made, so the server has nothing to close."""
    invoke = user_code.invoke

    def invoke_badly(request: Request) -> Any:
        return invoke(request)._replace(headers=(("X-Bad", "a\nb"),))

    client = create_app(user_code).test_client()
    with monkeypatch.context() as patch:
        patch.setattr(user_code, "invoke", invoke_badly)
        assert client.post("/invocations", data=b"stream").status_code == 500
    assert_turn_is_free(user_code)


ASYNC_HANDLERS = """
ENDS = []

async def model_fn(model_dir):
    return None

async def transform_fn(model, data, content_type, accept):
    return words()

async def words():
    try:
        while True:
            yield "word"
    finally:
        ENDS.append(1)
"""
BATCH_HANDLERS = """
def model_fn(model_dir):
    return None

def input_fn(data, content_type):
    return data

def predict_batch_fn(rows, model):
    return [words() for row in rows]

def words():
    yield "word"
    raise KeyError("late")
"""


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], UserCode]:
    def load(code: str) -> UserCode:
        module = tmp_path / f"turns_{tmp_path.name}.py"
        module.write_text(code)
        monkeypatch.syspath_prepend(str(tmp_path))
        found = handlers.Handlers(module, tmp_path)
        return UserCode(found, Settings(timeout_s=1), Metrics(1, {}))

    return load


@pytest.mark.parametrize("pieces", [0, 1, 2])
def test_asynchronous_stream_is_closed_and_counted_also_unstarted(
    load: Callable[[str], UserCode], pieces: int
) -> None:
    """Under gthread, where another thread takes the pieces."""
    user_code = load(ASYNC_HANDLERS)
    assert user_code.handlers is not None
    response = user_code.invoke(Request(b"", {}, can_stream=True))
    for _ in range(pieces):
        assert next(response.rest) == b"word"
    response.rest.close()
    functions = user_code.handlers._functions  # noqa: SLF001 - to find the module's variable
    assert functions["transform_fn"].__closure__ is not None
    cells = [cell.cell_contents for cell in functions["transform_fn"].__closure__]
    [ends] = [cell.__globals__["ENDS"] for cell in cells if hasattr(cell, "__globals__")]
    assert ends == [1]
    assert [ended.status for ended in user_code._metrics.ended] == [200]  # noqa: SLF001 - the count
    coroutines = user_code.handlers.coroutines
    assert coroutines is not None
    coroutines.loop.call_soon_threadsafe(coroutines.loop.stop)


@pytest.mark.parametrize(("pieces", "status"), [(0, 200), (1, 500)])
def test_stream_of_a_batch_is_counted_when_it_has_ended(
    load: Callable[[str], UserCode], pieces: int, status: int
) -> None:
    user_code = load(BATCH_HANDLERS)
    requests = [Request(b"", {}, can_stream=True)] * 2
    answered = user_code.invoke_batch(requests)
    ended = user_code._metrics.ended  # noqa: SLF001 - the count
    assert not ended
    for response in answered:
        for _ in range(pieces):
            with pytest.raises(KeyError):
                next(response.rest)
        response.rest.close()
    assert [invocation.status for invocation in ended] == [status, status]
