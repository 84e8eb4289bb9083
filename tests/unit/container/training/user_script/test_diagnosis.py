"""The cause of a failure, found in the program's last output."""

from pathlib import Path

import pytest

from container import contract
from container.training.user_script import diagnosis
from container.user_packages.supervision import Outcome

TRACEBACK = b"""epoch 1
Traceback (most recent call last):
  File "a.py", line 1, in <module>
    f()
KeyError: 'x'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "a.py", line 3, in <module>
    raise ValueError("the cause,\\nin two lines")
ValueError: the cause,
in two lines
"""


def test_cause_of_a_traceback_is_the_last_exception_and_comes_first() -> None:
    cause = diagnosis.find_cause(Outcome(1, error_tail=TRACEBACK))
    assert cause.startswith("ValueError: the cause,\nin two lines\nTraceback")
    assert "KeyError" not in cause


def test_cause_without_a_traceback_is_the_end_of_the_output() -> None:
    assert diagnosis.find_cause(Outcome(1, output_tail=b"a\n" * 9000 + b"the end\n")).endswith(
        "the end"
    )
    assert diagnosis.find_cause(Outcome(1, error_tail=b"10%\r20%\r30%")) == "30%"
    assert diagnosis.find_cause(Outcome(1)) == ""
    assert len(diagnosis.find_cause(Outcome(1, error_tail=b"x" * 16384))) <= 1024


@pytest.mark.parametrize("extra", ["", 'ExtraInfo "out of memory"\n'])
def test_the_log_has_the_traceback_once_and_the_failure_file_has_it_too(
    extra: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    traceback = 'Traceback (most recent call last):\n  File "a.py", line 1'
    start = "ExecuteUserScriptError:\nExitCode 1\nErrorMessage \"KeyError: 'x'"
    reason = f'{start}\n{traceback}"\n{extra}Command "python a.py"'

    assert diagnosis.report(contract.Layout(tmp_path), diagnosis.Failure(reason)) == 1

    assert capsys.readouterr().err == f'{start}"\n{extra}Command "python a.py"\n'
    assert (tmp_path / "output/failure").read_text() == reason


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("a note\nthe disk is full", "see the output above"),
        ("loss=3;\nloss: 2\nloss=1;", "see the output above"),
        ('ValueError: no\n  File "a.py", line 3, in train', "ValueError: no"),
        ("", ""),
    ],
)
def test_the_log_has_the_programs_output_once(
    message: str, shown: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise a metric in it would be counted twice."""
    reason = 'A:\nExitCode 1\nErrorMessage "{}"\nExtraInfo "x"\nCommand "python a.py"'
    failure = diagnosis.Failure(reason.format(message))
    diagnosis.report(contract.Layout(tmp_path), failure)
    assert capsys.readouterr().err == reason.format(shown) + "\n"


def test_the_cause_of_a_stop_is_the_stop() -> None:
    stopped = Outcome(143, stopped=True, output_tail=b"loss=3;\nloss=2;\n")
    assert diagnosis.find_cause(stopped) == ""
    assert (
        'ErrorMessage ""\nExtraInfo "the job was stopped' in diagnosis.diagnose(stopped, "a").reason
    )


def test_a_line_that_mpirun_has_broken_is_not_the_exception() -> None:
    broken = TRACEBACK.replace(b'  File "a.py", line 3', b'  File "/site-\npackages/a.py", line 3')
    cause = diagnosis.find_cause(Outcome(1, error_tail=broken))
    assert cause.startswith("ValueError: the cause,")
