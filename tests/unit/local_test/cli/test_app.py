"""The command line reports what a user can change in one sentence, and last."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer

from local_test.aws.process import installation
from local_test.cli import app
from tests.support import ROOT, wait_until


def run(jobs: Path, *arguments: str) -> tuple[int, str]:
    """Run a command; return its exit code and the last line of its standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "local_test", *arguments],
        cwd=ROOT,
        env={**os.environ, "LOCAL_TEST_JOBS": str(jobs)},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stderr.splitlines()[-1]


def test_the_reason_of_a_failed_job_is_the_last_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    code, last = run(tmp_path / "jobs", "train", "-c", f"training={tmp_path / 'empty'}")
    assert code == 1
    assert last.startswith("error: ClientError: ")
    assert str(tmp_path / "empty") in last


@pytest.mark.parametrize(
    "arguments",
    [
        ("serve", "--model", "{}/model", "--port"),
        ("up", "--directory", "{}/aws", "--port"),
        ("train", "-c", "training={}/model", "--program", "python a.py", "--debug"),
    ],
)
def test_a_port_in_use_is_named_with_its_option(arguments: Sequence[str], tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        words = [text.format(tmp_path) for text in arguments]
        code, last = run(tmp_path / "jobs", *words, port)
    assert code == 2
    reason = (
        f"{words[-1]} {port}: the port cannot be used: Address already in use; end the program "
        "that listens on it, or choose another port"
    )
    assert reason in last


_SAVER = """
import os, pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
pathlib.Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"), "model/saved").touch()
pathlib.Path("FOLDER/saved").touch()
while not os.path.exists("FOLDER/end"):
    print(end=sys.argv[1], flush=True)
    time.sleep(0.01)
"""


@pytest.mark.parametrize(
    ("line", "hosts", "status"),
    [("line\n", 1, "Stopped"), ("line\n", 2, "Stopped"), ("", 1, "Completed")],
)
def test_a_job_whose_lines_nobody_reads_any_more_stops_and_is_kept(
    line: str, hosts: int, status: str, tmp_path: Path
) -> None:
    """As with `2>&1 | head`; of a quiet program, the first line after it is that of the upload."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.csv").touch()
    (tmp_path / "saver.py").write_text(_SAVER.replace("FOLDER", str(tmp_path)))
    program = shlex.join([sys.executable, f"{tmp_path}/saver.py", line])
    command = f"{sys.executable} -m local_test train --name kept -c training={tmp_path}/data"
    command += f" --instance-count {hosts}"
    reader, writer = os.pipe()
    with subprocess.Popen(
        [*command.split(), "--program", program],
        cwd=ROOT,
        env={**os.environ, "LOCAL_TEST_JOBS": str(tmp_path / "jobs")},
        stdout=writer,
        stderr=writer,
    ) as process:
        os.close(writer)
        try:
            wait_until((tmp_path / "saved").exists)
            os.close(reader)
            if not line:
                (tmp_path / "end").touch()
            code = process.wait(60)
        finally:
            process.kill()
    job = tmp_path / "jobs/training/kept"
    described = json.loads((job / "description.json").read_text())
    assert (code, described["TrainingJobStatus"]) == (130 * bool(line), status)
    with tarfile.open(job / "output/model.tar.gz") as model:
        assert "saved" in model.getnames()


def test_a_job_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    jobs = tmp_path / "file" / "jobs"
    code, last = run(jobs, "train", "-c", f"training={tmp_path}")
    assert code == 2
    reason = "Not a directory; LOCAL_TEST_JOBS names another place"
    assert last == f"error: cannot make {jobs} for jobs: {reason}"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        *[
            ((name, "--directory", "{file}"), "{file} is a file; name a folder with --directory")
            for name in ("up", "down", "status", "env", "purge", "runs")
        ],
        (("up", "--directory", "{file}/aws"), "{file} is a file; name a folder with --directory"),
        (("train", "-c", "a={folder}", "--output", "{file}"), "{file} is a file; name a folder"),
        (
            ("train", "-c", "a={folder}", "--checkpoints", "{file}/x"),
            "{file} is a file; name a folder",
        ),
        (("transform", "{data}", "--output", "{file}"), "{file} is a file; name a folder"),
        (
            ("evaluate", "--model", "{folder}", "--test", "{folder}", "--output", "{file}"),
            "{file} is a file; name a folder",
        ),
        (("train", "--request", "{folder}"), "{folder} is a folder; name a file"),
        (("serve", "--request", "{folder}"), "{folder} is a folder; name a file"),
        (("smoke", "-c", "a={file}", "--body", "{folder}"), "{folder} is a folder; name a file"),
        (("invoke", "{folder}"), "{folder} is a folder; name a file"),
        (("conform", "--program", "x", "--junit", "{folder}"), "{folder} is a folder; name a file"),
        (("conform", "--program", "x", "--html", "{file}/x"), "{file} is a file; name a folder"),
    ],
)
def test_a_file_and_a_folder_are_not_the_same(
    arguments: Sequence[str], reason: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/data").touch()
    names = {"file": tmp_path / "file", "folder": tmp_path / "folder"}
    names["data"] = tmp_path / "folder/data"
    code, last = run(tmp_path / "jobs", *(text.format(**names) for text in arguments))
    assert code == 2
    assert last.startswith(f"error: {reason.format(**names)}")


def list_values(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield each command line that gives an empty text or path."""
    for name, child in getattr(command, "commands", {}).items():
        yield from list_values(child, (*words, name))
    params = command.get_params(typer.Context(command))
    given = ["x" for param in params if param.required and param.param_type_name == "argument"]
    for param in params:
        is_option = param.param_type_name == "option" and not param.multiple
        if is_option and param.metavar in ("TEXT", "PATH"):
            yield (*words, *given, f"{param.opts[0]}=")


@pytest.mark.parametrize(
    "words",
    list(list_values(app._build(""))),  # noqa: SLF001 - all commands
    ids=" ".join,
)
def test_an_empty_value_is_refused_as_it_would_be_this_directory(
    words: Sequence[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    *before, last = words
    for option in ([last], [last.removesuffix("="), ""]):
        monkeypatch.setattr(sys, "argv", ["local_test", *before, *option])
        assert app.main() == 2
        said = capsys.readouterr().err.splitlines()[-1]
        assert said == f"error: {option[0].strip('=')} has no value; give one, or leave it out"


def test_only_an_option_with_a_value_can_lack_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["invoke", "--verbose", ""], ["invoke", "body="]):
        monkeypatch.setattr(sys, "argv", ["local_test", *words])
        assert app.main() == 2
        assert "has no value" not in capsys.readouterr().err


def test_a_missing_command_is_said(tmp_path: Path) -> None:
    code, last = run(tmp_path)
    assert code == 2
    assert last == "error: no command is given; see --help"


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "-c", "training={}"),
        ("evaluate", "--model", "{}", "--test", "{}"),
        ("evaluate", "--model", "/", "--test", "{}"),
        ("transform", "{}", "--model", "/"),
        ("transform", "/", "--model", "{}"),
        ("smoke", "-c", "training={}"),
        ("conform", "-c", "training={}"),
        ("conform", "--model", "{}"),
        ("serve", "--model", "{}"),
        ("invoke", "{}"),
    ],
)
def test_a_wrong_path_has_one_wording_in_every_command(
    arguments: Sequence[str], tmp_path: Path
) -> None:
    (tmp_path / "digits").mkdir()
    wrong = tmp_path / "digit"

    code, last = run(tmp_path / "jobs", *(text.format(wrong) for text in arguments))

    assert code == 2
    assert last == f"error: {wrong} does not exist; did you mean {tmp_path / 'digits'}?"
    assert {path.name for path in (tmp_path / "jobs").glob("*")} <= {"digits"}  # no job began


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("train", "-c", "training="), "--channel training= has no path; write training=PATH"),
        (("train", "--j-k", "3"), "--j-k; a hyperparameter is written -p NAME=VALUE; see --help"),
        (("smoke", "--test", "/no/test"), "/no/test does not exist: /no is missing"),
    ],
)
def test_what_is_wrong_on_the_command_line_is_found_before_a_job(
    arguments: Sequence[str], reason: str, tmp_path: Path
) -> None:
    code, last = run(tmp_path / "jobs", *arguments)
    assert code == 2
    assert last.endswith(reason)
    assert {path.name for path in (tmp_path / "jobs").glob("*")} <= {"digits"}


def test_a_damaged_model_is_named_as_the_user_named_it(tmp_path: Path) -> None:
    model = tmp_path / "model.tar.gz"
    model.write_text("no archive")
    code, last = run(tmp_path / "jobs", "serve", "--model", str(model))
    assert code == 2
    assert last == f"error: {model} is not a complete tar.gz archive: not a gzip file"


def test_a_misspelt_command_is_one_sentence_with_the_nearest(tmp_path: Path) -> None:
    assert run(tmp_path, "trian") == (
        2,
        "error: No such command 'trian'. Did you mean 'train'? see --help",
    )


def test_a_command_starts_without_what_few_commands_need() -> None:
    program = (
        "import sys; from local_test.cli import app; app._build('up'); "
        "print({'docker', 'jinja2', 'botocore', 'rich', 'local_test.jobs'} & set(sys.modules))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, check=True
    )
    assert found.stdout == b"set()\n"


@pytest.mark.parametrize(
    ("name", "built"), [("train", {"train"}), ("aws", {"aws"}), ("no-command", {"train", "aws"})]
)
def test_only_the_command_that_runs_is_built(name: str, built: set[str]) -> None:
    commands = app._build(name).commands.keys()  # noqa: SLF001 - what it leaves out shows nowhere
    assert commands & {"train", "aws"} == built


def test_two_shells_may_start_the_local_aws_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "local_test"]
    place = ["--directory", str(tmp_path)]
    starts = [
        subprocess.Popen([*command, "up", *place], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        said = [start.communicate(timeout=120)[1] for start in starts]
    finally:
        for start in starts:
            start.kill()
        subprocess.run([*command, "down", *place], cwd=ROOT, check=True)
    assert [start.returncode for start in starts] == [0, 0]
    assert len({re.findall(r"http://[0-9.:]+", text)[0] for text in said}) == 1
    assert sorted(text.partition(":")[0] for text in said) == ["already up", "local AWS is up"]


def test_a_start_does_not_wait_for_one_in_another_shell_that_failed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "local_test", "up", "--directory", str(tmp_path)]
    log = tmp_path / "server.log"
    with installation.lock(tmp_path):  # as the other does until it answers
        start = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        wait_until(lambda: log.is_file() and "another local AWS serves" in log.read_text())
    said = start.communicate(timeout=120)[1]
    assert start.returncode == 2
    assert f"did not start: another local AWS serves {tmp_path}; its log is {log}" in said
