"""docs/architecture.md against the calls that really happen, and the bounds on the shortest walk.

Each walk of the page is a numbered list whose items begin with a file and a function. The program
`traced.py` writes every call of ours; the steps must occur among them in the page's order.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from container.serving.bodies import rows
from tests.contract.aws.client import PROGRAM, LocalAws, training_request, wait_for_status
from tests.support import PROGRAMS, ROOT, free_port, wait_until

PAGE = ROOT / "docs/architecture.md"
TRACED = PROGRAMS / "traced.py"
FILES_MAXIMUM = 6
CALLS_MAXIMUM = 35
PYTHON_DECODER = "container/serving/bodies/pixels.py"
"""Crossed as well where `scripts/setup` found no compiler for the decoder in C."""
Call = tuple[str, str]


def read_walk(title: str) -> list[Call]:
    """Return file and function of each step below a heading of the page."""
    _, _, rest = PAGE.read_text().partition(f"\n## {title}\n")
    section = rest.partition("\n## ")[0]
    steps = re.findall(r"^\d+\. `([\w./]+\.py)` `([\w.]+)`", section, re.MULTILINE)
    assert len(steps) >= 5, f"no walk {title!r} in {PAGE}"
    return steps


def read_trace(path: Path, start: int = 0) -> list[Call]:
    """Return the calls from a position on; those of one thread keep their order."""
    with path.open() as file:
        file.seek(start)
        return [(line.split()[2], line.split()[3]) for line in file if line.endswith("\n")]


def assert_walks(steps: Sequence[Call], calls: Sequence[Call]) -> None:
    """Hold the steps to be a subsequence of the calls."""
    position = 0
    for step in steps:
        rest = calls[position:]
        assert step in rest, f"{step} does not follow; calls of its file: " + str(
            [call for call in rest if call[0] == step[0]][:40]
        )
        position += rest.index(step) + 1


@contextlib.contextmanager
def running(trace: Path, *arguments: str, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """Run a module of ours under the tracer, and end it."""
    log = trace.with_suffix(".log")
    with log.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, TRACED, trace, *arguments],
            cwd=ROOT,
            env={**os.environ, **environ},
            stdout=stream,
            stderr=subprocess.STDOUT,
            text=True,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
        except OSError:
            return False
        return answer.status == 200


def trace_requests(base: Path, trace: Path) -> list[list[Call]]:
    """Start a server and return the calls of each of 20 requests on a connection that is kept."""
    port = free_port()
    environ = {
        "SAGEMAKER_BASE_DIR": str(base),
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "SAGEMAKER_MODEL_SERVER_WORKERS": "1",
    }
    body = ",".join(["1"] * 64)
    traces = []
    with running(trace, "container", "serve", **environ):
        wait_until(lambda: answers(port, "/ping"))
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as kept:
            for _ in range(20):
                start = trace.stat().st_size
                kept.request("POST", "/invocations", body, {"Content-Type": "text/csv"})
                answer = kept.getresponse()
                assert (answer.status, bool(answer.read())) == (200, True)
                traces.append(cut(read_trace(trace, start)))
    return traces


def cut(calls: list[Call]) -> list[Call]:
    """Return the calls from the socket's `recv` to its `send`, without the loop around them."""
    functions = [function for _, function in calls]
    last = len(functions) - 1 - functions[::-1].index("Responder._put")
    return calls[functions.index("Responder.read") : last + 1]


@pytest.fixture
def request_calls(digits_job: Path, tmp_path: Path) -> list[Call]:
    """Return the calls of the shortest request that was seen.

    A sweep of the loop may come between, and on a busy machine a server may find its model too slow
    for the loop and hand every request over; then another server is started.
    """
    calls: list[Call] = []
    for number in range(5):
        seen = min(trace_requests(digits_job, tmp_path / f"trace-{number}"), key=len)
        calls = min(calls or seen, seen, key=len)
        if len(calls) <= CALLS_MAXIMUM:
            break
    return calls


def test_a_request_walks_as_the_page_says_through_few_files(request_calls: list[Call]) -> None:
    steps = read_walk("A request")
    assert_walks(steps, request_calls)
    files = {path for path, _ in request_calls}
    if not rows.LIBRARY.exists():
        files.remove(PYTHON_DECODER)
    assert len(files) <= FILES_MAXIMUM, sorted(files)
    assert len(request_calls) <= CALLS_MAXIMUM, request_calls
    assert files == {path for path, _ in steps}


@pytest.mark.slow
def test_a_training_step_walks_as_the_page_says(
    make_job: Callable[..., Path], digits_channels: Path, tmp_path: Path
) -> None:
    base = make_job({"train": digits_channels / "train"}, epochs=1)
    trace = tmp_path / "trace"
    with running(trace, "container", "train", SAGEMAKER_BASE_DIR=str(base)) as process:
        assert process.wait(200) == 0, trace.with_suffix(".log").read_text()
    assert_walks(read_walk("A training step"), read_trace(trace))


def test_local_test_train_walks_as_the_page_says(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/rows.csv").write_text("1,2\n3,4\n")
    trace = tmp_path / "trace"
    program = shlex.join([sys.executable, str(PROGRAMS / "conformant.py")])
    command = ["train", "--program", program]
    command += ["--channel", f"training={tmp_path / 'data'}"]
    with running(trace, "local_test", *command, LOCAL_TEST_JOBS=str(tmp_path / "jobs")) as process:
        assert process.wait(100) == 0, trace.with_suffix(".log").read_text()
    assert_walks(read_walk("local_test train"), read_trace(trace))


def test_boto3s_create_training_job_walks_as_the_page_says(tmp_path: Path) -> None:
    port, trace = free_port(), tmp_path / "trace"
    command = ["up", "--foreground", "--port", str(port), "--program", PROGRAM]
    with running(trace, "local_test", *command, "--directory", str(tmp_path / "aws")):
        aws = LocalAws(tmp_path / "aws")
        wait_until((tmp_path / "aws/server.json").exists)
        aws.url = f"http://127.0.0.1:{port}"
        wait_until(lambda: answers(port, "/console"))
        aws.s3.put_object(Bucket=aws.bucket, Key="data/rows.csv", Body=b"1,2\n")
        start = trace.stat().st_size
        aws.sagemaker.create_training_job(**training_request(aws, "walk"))
        wait_for_status(aws, "walk")
    assert_walks(read_walk("boto3's CreateTrainingJob"), read_trace(trace, start))
