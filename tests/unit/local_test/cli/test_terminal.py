"""What a person reads."""

from __future__ import annotations

import re
import signal
import threading
from pathlib import Path

import pytest

from local_test.cli import terminal
from local_test.jobs.result import JobResult, Metric
from local_test.requests import shorthand
from local_test.runners.process import ProcessRunner


def test_each_state_of_a_progress_bar_is_a_line_with_its_host(
    capsys: pytest.CaptureFixture[str],
) -> None:
    terminal.show_line("algo-1", "\r 10%\r 20%")
    terminal.show_line("", "loss=1;")
    terminal.show_line("algo-2", "")

    assert capsys.readouterr().err == "algo-1 |  10%\nalgo-1 |  20%\nloss=1;\nalgo-2 | \n"


def test_a_traceback_stands_in_the_log_only() -> None:
    reason = (
        "ExecuteUserScriptError:\nExitCode 3\nErrorMessage \"KeyError: 'x'\n"
        'Traceback (most recent call last):\n  File "a.py", line 1\n"\nCommand "python a.py"'
    )
    assert terminal.shorten_reason(reason) == "the program failed with exit code 3: KeyError: 'x'"
    cut = reason.replace("Traceback (most recent call last):\n  F", "F").replace('\n"', '"')
    cut = cut.replace("\nCommand", '\nExtraInfo "try x"\nCommand')
    assert terminal.shorten_reason(cut) == (
        "the program failed with exit code 3: KeyError: 'x'; try x"
    )
    quiet = re.sub('(?s)(?<=Message ").*(?="\nExtra)', 'I0000 a note\nno file "x"', cut)
    assert terminal.shorten_reason(quiet).endswith('exit code 3: no file "x"; try x')
    stopped = re.sub('(?s)(?<=Message ").*(?="\nExtra)', "", cut)
    assert terminal.shorten_reason(stopped).endswith("exit code 3: try x")
    other = "ValueError: no\nTraceback (most recent call last):\n  File"
    assert terminal.shorten_reason(other) == "ValueError: no"
    for whole in ("UserError: 2 faults\n  - one\n  - two", ""):
        assert terminal.shorten_reason(whole) == whole


def test_a_result_names_each_metric_in_full_at_80_columns(
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = ("learning_rate", "test_precision", "data_stall_share")
    metrics = [Metric(name, 1.234567e-5 * n, n) for name in names for n in range(1, 40)]
    result = JobResult({"FailureReason": "none"}, Path("job"), "Stopped", metrics=metrics)
    assert terminal.report(result, "model.tar.gz") == 130
    shown = capsys.readouterr().err.partition("job directory")[0]
    assert max(map(len, shown.splitlines())) <= 80
    for name in names:
        assert f" {name} " in shown


def test_a_stop_may_take_a_lock_that_the_interrupted_code_holds() -> None:
    lock = threading.Lock()
    got: list[bool] = []

    class Job:
        def stop(self) -> None:
            got.append(lock.acquire(timeout=5))

    with terminal.stopping(Job()), lock:
        signal.raise_signal(signal.SIGINT)

    assert got == [True]


def test_a_folder_of_many_files_is_named_before_it_is_copied_as_a_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def announce() -> str:
        requests = shorthand.endpoint_requests(name="x", image="any", model=str(tmp_path))
        terminal.announce(requests.validate()[0], ProcessRunner(["true"]))
        return capsys.readouterr().err

    for number in range(1001):
        assert number > 1 or "copied" not in announce()
        (tmp_path / str(number)).touch()
    said = "a folder of 1001 files (0.0 GB), which are copied; name the model's own folder"
    assert said in " ".join(announce().split())


def test_a_folder_of_many_models_is_not_copied_and_may_be_filled_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    requests = shorthand.endpoint_requests(name="x", image="any", model=None)
    for place in (tmp_path, tmp_path / "later"):
        uri = {"Mode": "MultiModel", "ModelDataUrl": f"file://{place}/"}
        requests.models["x"]["PrimaryContainer"].update(uri)
        for number in range(1001):
            (tmp_path / str(number)).touch()
        terminal.announce(requests.validate()[0], ProcessRunner(["true"]))
        assert "copied" not in capsys.readouterr().err


def test_a_variable_of_the_shell_that_no_container_sees_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BYO_ALLOW_PICKLE", "true")
    for environment, is_named in (({}, True), ({"BYO_ALLOW_PICKLE": "true"}, False)):
        requests = shorthand.endpoint_requests(
            name="x", image="any", model=None, environment=environment
        )
        terminal.announce(requests.validate()[0], ProcessRunner(["true"]))
        said = "BYO_ALLOW_PICKLE of this shell is not passed on; give --env BYO_ALLOW_PICKLE=VALUE"
        assert (said in " ".join(capsys.readouterr().err.split())) == is_named
