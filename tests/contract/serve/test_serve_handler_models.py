"""A multi-model endpoint whose models bring code, each in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from container.user_packages import processes
from local_test.conformance.sessions import serving_mode_checks
from local_test.conformance.subject import Subject
from local_test.runners.process import ProcessRunner
from tests.contract.serve.conftest import run_server
from tests.support import ROOT, wait_until

ROUNDS = int(os.environ.get("MODEL_ROUNDS", "6"))
"""Loads and unloads of the test with kills; 200 in `MODEL_ROUNDS=200`."""

# Each model has a module of the same name beside its code, and its own number.
HANDLER = """
import os
import signal
import time
import numpy as np
import settings

def model_fn(model_dir):
    with open(os.path.join(model_dir, "number")) as file:
        number = int(file.read())
    if os.path.exists(os.path.join(model_dir, "wait")):
        open(os.path.join(model_dir, "waits"), "w").close()
        time.sleep(600)
    return number, np.ones({hoard_mb} << 17)

def transform_fn(model, data, content_type, accept, context):
    context.metrics.add_counter("bytes", len(data))
    if data == b"die":
        signal.raise_signal(11)
    return f"{{settings.NAME}} {{model[0]}} {{os.getpid()}}", "text/plain"
"""
BROKEN = """
def model_fn(model_dir):
    raise RuntimeError("no weights")

def transform_fn(model, data, content_type, accept):
    return ""
"""


def write_model(base: Path, name: str, number: int, hoard_mb: int = 0) -> Path:
    """Write a model with code of its own, as the platform unpacks it."""
    root = base / "models" / name / "model"
    (root / "code").mkdir(parents=True)
    (root / "number").write_text(str(number))
    (root / "code/inference.py").write_text(HANDLER.format(hoard_mb=hoard_mb))
    (root / "code/settings.py").write_text(f"NAME = {name!r}\n")
    return root


@pytest.fixture(scope="module")
def base(artifact_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lay out models with code, without it, and one of the bundled network."""
    base = tmp_path_factory.mktemp("handlers")
    for number, name in enumerate("abc"):
        write_model(base, name, number)
    shutil.copytree(artifact_base / "model", base / "models/digits/model")
    broken = write_model(base, "broken", 0)
    (broken / "code/inference.py").write_text(BROKEN)
    return base


@pytest.fixture(scope="module")
def endpoint(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    log = tmp_path_factory.mktemp("log") / "log"
    with run_server(base, log, SAGEMAKER_MULTI_MODEL="true") as server:
        yield server


def load(server: Any, base: Path, name: str) -> tuple[int, str]:
    body = json.dumps({"model_name": name, "url": str(base / "models" / name / "model")})
    status, _, answer = server.request("POST", "/models", body, Content_Type="application/json")
    return status, answer.decode()


def unload(server: Any, name: str) -> int:
    return int(server.request("DELETE", f"/models/{name}")[0])


def ask(server: Any, name: str, body: bytes = b"x") -> tuple[int, str]:
    headers = {"Content_Type": "application/octet-stream"}
    status, _, answer = server.request("POST", f"/models/{name}/invoke", body, **headers)
    return status, answer.decode()


def pid_of(server: Any, name: str) -> int:
    status, answer = ask(server, name)
    assert status == 200, answer
    return int(answer.split()[-1])


def read_metrics(server: Any) -> dict[str, float]:
    lines = server.request("GET", "/metrics")[2].decode().splitlines()
    return {
        key: float(value)
        for key, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")
    }


def list_models(server: Any) -> list[str]:
    _, _, answer = server.request("GET", "/models")
    return [model["modelName"] for model in json.loads(answer)["models"]]


def list_processes(server: Any) -> list[int]:
    """List the processes of models, which one process of the endpoint's forks."""
    (worker,) = server.worker_pids()
    forking = processes.list_children(worker)
    return [pid for parent in forking for pid in processes.list_children(parent)]


def test_models_with_modules_of_one_name_answer_each_for_itself(endpoint: Any, base: Path) -> None:
    for name in ("a", "b", "digits"):
        assert load(endpoint, base, name)[0] == 200
    assert load(endpoint, base, "a")[0] == 409
    assert [ask(endpoint, name)[1].split()[:2] for name in "ab"] == [["a", "0"], ["b", "1"]]
    assert pid_of(endpoint, "a") != pid_of(endpoint, "b")
    row = b"0," * 63 + b"255"
    status, _, answer = endpoint.request(
        "POST", "/models/digits/invoke", row, Content_Type="text/csv"
    )
    assert (status, len(json.loads(answer)["outputs"][0])) == (200, 10)
    assert list_models(endpoint) == ["a", "b", "digits"]
    assert len(list_processes(endpoint)) == 2  # the bundled network shares the endpoint's

    page = read_metrics(endpoint)
    assert {line for line in page if line.startswith("serving_model_requests_total")} == {
        'serving_model_requests_total{model="a",status="200"}',
        'serving_model_requests_total{model="b",status="200"}',
        'serving_model_requests_total{model="digits",status="200"}',
    }
    for name in ("a", "b", "digits"):
        assert page[f'serving_model_load_seconds{{model="{name}"}}'] > 0
        for stage in ("predict", "request"):
            key = f'model="{name}",stage="{stage}"'
            assert page[f"serving_model_stage_seconds_sum{{{key}}}"] > 0
            assert page[f"serving_model_stage_seconds_count{{{key}}}"] >= 1
    asked = page['serving_model_requests_total{model="a",status="200"}']
    assert page['serving_model_custom_sum{model="a",name="bytes"}'] == asked
    assert page['serving_stage_seconds_count{stage="predict"}'] >= 5

    for name in ("a", "b", "digits"):
        assert unload(endpoint, name) == 200
        assert ask(endpoint, name)[0] == 404
    assert list_processes(endpoint) == []
    assert not [line for line in read_metrics(endpoint) if "{model=" in line]


def test_a_crash_harms_no_other_model_and_its_own_goes_on(endpoint: Any, base: Path) -> None:
    assert load(endpoint, base, "a")[0] == load(endpoint, base, "b")[0] == 200
    other = pid_of(endpoint, "b")

    os.kill(pid_of(endpoint, "a"), signal.SIGKILL)
    assert ask(endpoint, "a")[0] == 200
    status, answer = ask(endpoint, "a", b"die")
    assert (status, "signal 11" in answer) == (500, True)
    assert ask(endpoint, "a")[0] == 200
    assert pid_of(endpoint, "b") == other
    assert list_models(endpoint) == ["a", "b"]
    assert unload(endpoint, "a") == unload(endpoint, "b") == 200


def test_code_that_fails_to_load_is_explained_and_leaves_nothing(endpoint: Any, base: Path) -> None:
    status, answer = load(endpoint, base, "broken")
    assert (status, "no weights" in answer) == (500, True)
    assert list_models(endpoint) == []
    assert list_processes(endpoint) == []


def test_shared_handlers_of_the_image_serve_models_without_code(tmp_path: Path, base: Path) -> None:
    image = tmp_path / "image"
    shutil.copytree(base / "models/c/model/code", image)
    (image / "settings.py").write_text("NAME = 'shared'\n")
    root = tmp_path / "base"
    for number, name in enumerate("abc"):
        write_model(root, name, number)
        if name != "a":
            shutil.rmtree(root / "models" / name / "model/code")
    with run_server(
        root,
        tmp_path / "log",
        SAGEMAKER_MULTI_MODEL="true",
        SAGEMAKER_SUBMIT_DIRECTORY=str(image),
        BYO_MODEL_PROCESSES="2",
    ) as server:
        assert load(server, root, "a")[0] == load(server, root, "b")[0] == 200
        assert ask(server, "a")[1].startswith("a 0 ")
        assert ask(server, "b")[1].startswith("shared 1 ")
        assert load(server, root, "c")[0] == 507  # the platform unloads another and tries again
        assert unload(server, "a") == 200
        assert load(server, root, "c")[0] == 200
        assert ask(server, "c")[1].startswith("shared 2 ")
        before = list_processes(server)
        os.kill(server.worker_pids()[0], signal.SIGKILL)
        wait_until(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in before))
        wait_until(lambda: server.request("GET", "/ping")[0] == 200)
        assert list_models(server) == []


def test_an_endpoint_of_models_with_code_keeps_the_contract(tmp_path: Path) -> None:
    """MME-2 to MME-6, by the checks of `conform --multi-model`."""
    write_model(tmp_path, "c", 3)
    subject = Subject(
        runner=ProcessRunner([sys.executable, "-m", "container"], directory=ROOT),
        directory=tmp_path / "work",
        model=str(tmp_path / "models/c/model"),
        body=b"x",
        is_multi_model=True,
    )
    verdicts = {
        verdict.check.id: verdict for verdict in serving_mode_checks.check_multi_model(subject)
    }

    assert len(verdicts) == len(serving_mode_checks.MULTI_MODEL_IDS)
    del verdicts["MME-2d"]  # 507 where memory ends, which eight of these do not see
    assert {name: one.evidence for name, one in verdicts.items() if one.outcome != "pass"} == {}


def kill_while_loading(server: Any, base: Path) -> int:
    """Kill the process of model a while it loads; return the status of the load."""
    root = base / "models/a/model"
    (root / "wait").touch()
    statuses: list[int] = []
    thread = threading.Thread(target=lambda: statuses.append(load(server, base, "a")[0]))
    before = list_processes(server)
    thread.start()
    wait_until((root / "waits").exists)
    (root / "wait").unlink()
    (root / "waits").unlink()
    (loading,) = set(list_processes(server)) - set(before)
    os.kill(loading, signal.SIGKILL)
    thread.join()
    return statuses[0]


def test_loads_unloads_and_kills_lose_no_request(endpoint: Any, base: Path) -> None:
    """Models come and go, their processes are killed under load, and another never notices."""
    assert load(endpoint, base, "c")[0] == 200
    kept = pid_of(endpoint, "c")
    is_over = threading.Event()
    statuses: dict[str, set[int]] = {name: set() for name in "abc"}

    def drive(name: str) -> None:
        while not is_over.is_set():
            statuses[name].add(ask(endpoint, name)[0])

    threads = [threading.Thread(target=drive, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    try:
        for turn in range(ROUNDS):
            name = "ab"[turn % 2]
            assert load(endpoint, base, name)[0] == 200
            os.kill(pid_of(endpoint, name), signal.SIGKILL)
            assert ask(endpoint, name)[0] == 200
            assert unload(endpoint, name) == 200
        assert kill_while_loading(endpoint, base) == 507  # as if the kernel had
    finally:
        is_over.set()
        for thread in threads:
            thread.join()

    assert statuses["c"] == {200}
    assert statuses["a"] | statuses["b"] == {200, 404}
    assert pid_of(endpoint, "c") == kept
    assert list_models(endpoint) == ["c"]
    assert list_processes(endpoint) == [kept]
    assert unload(endpoint, "c") == 200
