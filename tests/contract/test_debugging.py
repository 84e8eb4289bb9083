"""Programs under a debugger, and servers that follow changes of their code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from container.developer import init
from local_test.runners.launcher import has_namespaces
from tests.contract.debugger import Session, follow
from tests.support import ROOT, free_port, wait_until

pytest.importorskip("sagemaker_training", reason="docker/requirements-scripts.txt is not installed")

CODE = (
    "def model_fn(model_dir):\n    return {number}\n\n\ndef predict_fn(data, model):\n    {body}\n"
)


@contextmanager
def running(directory: Path, *arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """Run a command of `local_test`, whose log goes to `directory`/log, and interrupt it."""
    environ = os.environ | {"LOCAL_TEST_JOBS": str(directory / "jobs"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "local_test", *map(str, arguments)]
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=directory, env=environ, stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)


def read_log(directory: Path) -> str:
    return (directory / "log").read_text()


def ask(url: str) -> tuple[int, Any]:
    request = urllib.request.Request(url, b"1,2", {"Content-Type": "text/csv"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def find_line(path: Path, text: str) -> int:
    """Return the number of the line that starts with `text`."""
    lines = path.read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.strip().startswith(text))


def read_configuration(project: Path, name: str, port: int) -> dict[str, Any]:
    """Return what an editor attaches with, by the project's launch.json, but for the port."""
    document = json.loads((project / ".vscode/launch.json").read_text())
    [found] = [entry for entry in document["configurations"] if name in entry["name"]]
    text = json.dumps(found).replace("${workspaceFolder}", str(project))
    text = text.replace("5678", str(port))
    configuration: dict[str, Any] = json.loads(text)
    return configuration


@pytest.mark.skipif(not has_namespaces(), reason="launch.json maps /opt/ml")
def test_a_breakpoint_in_a_training_script_stops_it(tmp_path: Path) -> None:
    project = tmp_path / "project"
    init.write(project, "script")
    script = project / "code/train.py"
    port = free_port()
    channels = ("-c", f"code={project}/code", "-c", f"training={project}/data")
    with running(tmp_path, "train", *channels, "-p", "scale=3", "--debug", str(port)) as process:
        options = read_configuration(project, "train --debug", port)
        with Session("127.0.0.1", port, options) as session:
            line = find_line(script, "means =")
            session.start(script, line)
            child, thread = follow(session, script, line)
            with child:
                assert child.evaluate(thread, "arguments.scale") == "3.0"
                assert child.evaluate(thread, "table.tolist()") == "[[1.0, 2.0], [3.0, 4.0]]"
                child.request("continue", threadId=thread)
                child.wait_for("terminated")
        assert process.wait(60) == 0, read_log(tmp_path)
        assert process.stdout is not None
        assert process.stdout.read().startswith("Completed ")
    assert f"attach a debugger to 127.0.0.1:{port}" in read_log(tmp_path)


@pytest.mark.skipif(not has_namespaces(), reason="launch.json maps /opt/ml")
def test_a_breakpoint_in_inference_code_stops_the_request(tmp_path: Path) -> None:
    project = tmp_path / "project"
    init.write(project, "script")
    (tmp_path / "model/code").mkdir(parents=True)
    (tmp_path / "model/means.json").write_text("[2.0, 3.0]")
    handler = project / "code/inference.py"
    (tmp_path / "model/code/inference.py").write_text(handler.read_text())
    port = free_port()
    flags = ("--model", tmp_path / "model", "--debug", str(port))
    with running(tmp_path, "serve", *flags) as process, ThreadPoolExecutor(1) as pool:
        options = read_configuration(project, "serve --debug", port)
        line = find_line(handler, "return np.linalg")
        with Session("127.0.0.1", port, options) as session:
            session.start(handler, line)
            attach = session.wait_for("debugpyAttach")["body"]
            with Session(attach["connect"]["host"], attach["connect"]["port"], attach) as worker:
                worker.start(handler, line)
                assert process.stdout is not None
                url = process.stdout.readline().strip()
                answer = pool.submit(ask, url)
                thread = worker.wait_for("stopped")["body"]["threadId"]
                assert worker.evaluate(thread, "model.tolist()") == "[2.0, 3.0]"
                worker.request("setBreakpoints", source={"path": str(handler)}, breakpoints=[])
                worker.request("continue", threadId=thread)
                assert answer.result(60) == (200, [2**0.5])


def test_a_change_of_the_code_restarts_the_server(tmp_path: Path) -> None:
    code = tmp_path / "model/code/inference.py"
    code.parent.mkdir(parents=True)
    code.write_text(CODE.format(number=1, body="return [model]"))
    with running(tmp_path, "serve", "--model", tmp_path / "model", "--reload") as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert ask(url) == (200, [1])

        code.write_text(CODE.format(number=2, body="return [model]"))
        wait_until(lambda: ask(url) == (200, [2]), "the new code answers")
        wait_until(lambda: "\nrestarted" in read_log(tmp_path), "the old server ends")
        [directory] = tmp_path.glob("jobs/endpoints/*/hosts")
        assert len(list(directory.iterdir())) == 1, "the old server's model is left"

        code.write_text("def broken(:\n")
        wait_until(lambda: "still answers" in read_log(tmp_path), "the broken code is reported")
        assert "SyntaxError" in read_log(tmp_path)
        assert ask(url) == (200, [2])

        code.write_text(CODE.format(number=3, body="raise LookupError('of mine')"))
        wait_until(lambda: ask(url)[0] == 424, "the failing code answers")
        wait_until(lambda: "raise LookupError('of mine')" in read_log(tmp_path), "its line")
        log = read_log(tmp_path)
        assert "Traceback (most recent call last)" in log


def test_code_that_is_broken_at_the_start_is_waited_for(tmp_path: Path) -> None:
    code = tmp_path / "mine/inference.py"
    code.parent.mkdir()
    code.write_text("import no_such_package_of_mine\n")
    flags = ("--reload", "-e", f"SAGEMAKER_SUBMIT_DIRECTORY={code.parent}")
    with running(tmp_path, "serve", *flags) as process:
        wait_until(lambda: "waiting for a change" in read_log(tmp_path), "the start fails")
        assert "no_such_package_of_mine" in read_log(tmp_path)
        code.write_text(CODE.format(number=4, body="return [model]"))
        assert process.stdout is not None
        assert ask(process.stdout.readline().strip()) == (200, [4])
