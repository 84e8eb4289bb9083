"""What the workers share, as far as it is decided before they are forked."""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from container import contract
from container.errors import UserError
from container.serving import plan, server_settings
from container.serving.exchange import Request
from container.serving.service import Service
from container.serving.workers import growth
from tests.support import wait_until

HANDLER = """
def model_fn(model_dir):
    {before}
    return 7

def transform_fn(model, data, content_type, accept):
    return str(model), "text/plain"
"""


@pytest.fixture(autouse=True)
def _forget_user_code() -> Iterator[None]:
    path = sys.path[:]
    yield
    gc.unfreeze()
    sys.modules.pop("inference", None)
    sys.path[:] = path


def make(tmp_path: Path, before: str = "pass") -> Service:
    (tmp_path / "model/code").mkdir(parents=True)
    (tmp_path / "model/code/inference.py").write_text(HANDLER.format(before=before))
    settings = server_settings.Settings(preload=True)
    return Service(plan.make(contract.Layout(tmp_path), {}, settings, 3))


def test_preloaded_code_is_not_loaded_again(tmp_path: Path) -> None:
    service = make(tmp_path)
    assert (service.plan.grows, service.plan.loads_in_workers) == (True, False)
    service.preload()
    application = service.application
    assert application is not None
    assert service.load() is application
    assert application.invoke(Request(b"1", {"content-type": "text/csv"})).body == b"7"
    assert gc.get_freeze_count() > 0


def test_code_with_threads_is_not_preloaded(tmp_path: Path) -> None:
    is_over = threading.Event()
    vars(growth)["is_over"] = is_over
    before = (
        "import threading; from container.serving.workers import growth; "
        "threading.Thread(target=growth.is_over.wait, name='mine').start()"
    )
    try:
        with pytest.raises(UserError, match=r"has started threads \(mine\).*unset BYO_PRELOAD"):
            make(tmp_path, before).preload()
    finally:
        is_over.set()
        del vars(growth)["is_over"]


def test_a_model_on_a_gpu_is_not_preloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "uses_gpu", lambda: True)
    with pytest.raises(UserError, match=r"on a GPU.*unset BYO_PRELOAD"):
        make(tmp_path).preload()


def test_a_worker_notes_what_its_model_has_taken(tmp_path: Path) -> None:
    service = make(tmp_path, before="global hoard; hoard = bytearray(b'1') * (128 << 20)")
    service._master = os.getppid()  # noqa: SLF001 - nobody's worker would measure
    heard: list[int] = []
    kill, os.kill = os.kill, lambda pid, _: heard.append(pid)
    try:
        service.load()
    finally:
        os.kill = kill

    grown = service.growth.read()
    assert grown is not None
    assert grown[0] > 100 << 20  # the worker of the tests may give some back meanwhile
    assert heard == [os.getppid()]


ASYNC_HANDLER = """
import asyncio

async def model_fn(model_dir):
    {load}

async def transform_fn(model, data, content_type, accept):
    return str(model), "text/plain"
"""


def make_async(tmp_path: Path, load: str) -> Service:
    service = make(tmp_path)
    (tmp_path / "model/code/inference.py").write_text(ASYNC_HANDLER.format(load=load))
    return service


def test_an_asynchronous_model_is_preloaded_and_answers_after_the_fork(tmp_path: Path) -> None:
    service = make_async(tmp_path, "return await asyncio.to_thread(int, '7')")
    service.preload()
    application = service.application
    assert application is not None
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writer, application.invoke(Request(b"1", {})).body)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    os.close(writer)
    assert os.read(reader, 100) == b"7"
    os.close(reader)


@pytest.mark.parametrize(
    ("load", "message"),
    [
        ("return asyncio.ensure_future(asyncio.sleep(60))", r"left tasks .*sleep.*unset BYO_P"),
        ("return asyncio.get_running_loop()", "kept the asyncio loop.*unset BYO_PRELOAD"),
        ("return asyncio.get_running_loop().create_future()", "kept the asyncio loop"),
    ],
)
def test_what_needs_the_asyncio_loop_of_its_load_is_not_preloaded(
    tmp_path: Path, load: str, message: str
) -> None:
    service = make_async(tmp_path, load)
    with pytest.raises(UserError, match=message):
        service.preload()


def test_other_routes_answer_while_the_model_is_loaded_and_load_it_no_second_time(
    tmp_path: Path,
) -> None:
    """HO-6: `/metrics` used to load a model of its own for each request, or waited for it."""
    loads: list[int] = []
    is_over = threading.Event()
    vars(growth).update(loads=loads, is_over=is_over)
    before = (
        "from container.serving.workers import growth; growth.loads.append(1); "
        "growth.is_over.wait(10)"
    )
    service = make(tmp_path, before)
    threads = [threading.Thread(target=service.load) for _ in range(8)]
    try:
        for thread in threads:
            thread.start()
        wait_until(lambda: loads)
        client = service.wsgi.test_client()
        statuses = {
            path: client.get(path).status_code
            for path in ("/metrics", "/openapi.json", "/execution-parameters", "/favicon.ico")
        }
        assert [*statuses.values()] == [200, 200, 200, 404]
        assert client.put("/ping").status_code == 405
        assert client.get("/ping").status_code == 503
        refused = client.post("/invocations", data=b"1", content_type="text/csv")
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        assert service.application is None
    finally:
        is_over.set()
        for thread in threads:
            thread.join(timeout=60)
        del vars(growth)["loads"], vars(growth)["is_over"]
    client = service.wsgi.test_client()
    assert client.get("/ping").status_code == 200
    assert client.post("/invocations", data=b"1", content_type="text/csv").data == b"7"
    assert loads == [1]
