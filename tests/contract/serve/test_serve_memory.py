"""Servers of users' code under a memory limit, played by the process runner."""

from __future__ import annotations

import contextlib
import http.client
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local_test.runners.interface import Launch
from local_test.runners.launcher import has_namespaces
from local_test.runners.process import ProcessContainer, ProcessRunner
from tests.support import ROOT, wait_until

pytestmark = pytest.mark.skipif(
    not has_namespaces(), reason="the limit is seen in a view of one's own"
)
LIMIT_MB = 400
# Small steps at the end, so that the limit is met by whoever looks every few milliseconds.
HANDLER = """
import os, time
import numpy as np

def grow(hoard, steps):
    for _ in range(steps):
        hoard.append(np.ones(1 << 17))
        time.sleep(0.1)

def model_fn(model_dir):
    quick, slow = map(int, open(os.path.join(model_dir, "sizes")).read().split())
    hoard = [np.ones(quick << 17)]
    grow(hoard, slow)
    return hoard

def transform_fn(model, data, content_type, accept):
    if data == b"grow":
        grow(model, 110)
    return str(os.getpid()), "text/plain"
"""


def write_model(root: Path, quick_mb: int, slow_mb: int) -> Path:
    """Write a model that takes so many MB, the latter in small steps."""
    (root / "code").mkdir(parents=True)
    (root / "sizes").write_text(f"{quick_mb} {slow_mb}")
    (root / "code/inference.py").write_text(HANDLER)
    return root


class Limited:
    """A server whose processes may take 400 MB together."""

    def __init__(self, container: ProcessContainer, output: bytearray) -> None:
        """Take a started server and where its log goes."""
        self.container = container
        self._output = output

    @property
    def log(self) -> str:
        """What it has written."""
        return self._output.decode()

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, str]:
        """Send a request of its own connection."""
        connection = http.client.HTTPConnection(*self.container.address, timeout=60)
        with contextlib.closing(connection):
            headers = {"Content-Type": "application/octet-stream"}
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def is_healthy(self) -> bool:
        """Return whether it answers a ping."""
        assert self.container.wait(0) is None, self.log
        try:
            return self.ask("GET", "/ping")[0] == 200
        except OSError:
            return False

    def load(self, name: str) -> int:
        """Load a model of a multi-model endpoint."""
        order = {"model_name": name, "url": f"/opt/ml/models/{name}/model"}
        return self.ask("POST", "/models", json.dumps(order).encode())[0]


Start = Callable[..., Limited]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with contextlib.ExitStack() as started:

        def run(**environ: str) -> Limited:
            output = bytearray()
            command = [sys.executable, "-m", "container"]
            runner = ProcessRunner(command, directory=ROOT, memory_bytes=LIMIT_MB << 20)
            environment = {"PYTHONDONTWRITEBYTECODE": "1", **environ}
            launch = Launch("algo-1", ("serve",), tmp_path, environment, is_server=True)
            container = runner.start(launch, output.extend)
            started.callback(container.remove)
            return Limited(container, output)

        yield run


def test_as_many_workers_serve_as_fit(start: Start, tmp_path: Path) -> None:
    """The model alone would fit once for each of two cores; with all else it does not."""
    write_model(tmp_path / "model", 180, 0)
    server = start()
    wait_until(server.is_healthy)
    wait_until(lambda: "0 more start" in server.log)
    assert len({server.ask("POST", "/invocations", b"x") for _ in range(4)}) == 1
    assert server.is_healthy()


def test_workers_share_what_was_loaded_before_they_were_forked(
    start: Start, tmp_path: Path
) -> None:
    write_model(tmp_path / "model", 180, 0)
    server = start(BYO_PRELOAD="true", SAGEMAKER_MODEL_SERVER_WORKERS="3")
    wait_until(server.is_healthy)
    answers: set[tuple[int, str]] = set()

    def both_answer() -> bool:
        answers.add(server.ask("POST", "/invocations", b"x"))
        return len(answers) > 1

    wait_until(both_answer)
    assert {status for status, _ in answers} == {200}


@pytest.mark.slow  # whoever looks first ends it: the runner or the server; see tests/image as well
@pytest.mark.parametrize(
    ("sizes", "environ", "named"),
    [
        ((220, 400), {}, "SAGEMAKER_MODEL_SERVER_WORKERS=1"),
        ((220, 400), {"BYO_PRELOAD": "true"}, "SAGEMAKER_MODEL_SERVER_WORKERS=1"),
        ((60, 400), {"SAGEMAKER_MODEL_SERVER_WORKERS": "3"}, "SAGEMAKER_MODEL_SERVER_WORKERS=3"),
    ],
    ids=["one", "preloaded", "three"],
)
def test_what_does_not_fit_ends_with_the_name_of_the_setting(
    start: Start, tmp_path: Path, sizes: tuple[int, int], environ: dict[str, str], named: str
) -> None:
    write_model(tmp_path / "model", *sizes)
    server = start(**environ)
    code = server.container.wait(120)
    assert (code, named in server.log, "400 MB" in server.log) == (1, True, True), server.log


@pytest.mark.slow  # as above
def test_models_give_way_to_each_other(start: Start, tmp_path: Path) -> None:
    """MME-2: what does not fit is 507 before the container is killed, and fits when one has gone.

    MME-5: what serves and grows has the least recently used one unloaded, which is 404.
    """
    for name, sizes in {"a": (130, 0), "b": (40, 0), "c": (100, 40)}.items():
        write_model(tmp_path / "models" / name / "model", *sizes)
    server = start(SAGEMAKER_MULTI_MODEL="true")
    wait_until(server.is_healthy)
    assert [server.load(name) for name in "ab"] == [200, 200]
    assert server.load("c") == 507
    assert server.ask("DELETE", "/models/a")[0] == 200
    assert server.load("c") == 200
    assert server.ask("POST", "/models/c/invoke", b"grow")[0] == 200
    wait_until(lambda: server.ask("POST", "/models/b/invoke", b"x")[0] == 404)
    assert server.ask("POST", "/models/c/invoke", b"x")[0] == 200
    assert "unloaded model b, the least recently used" in server.log
    assert server.is_healthy()
