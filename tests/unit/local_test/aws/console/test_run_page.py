"""The jobs of the commands in the console: what a container wrote is shown as text."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from local_test.aws.account.account import Account
from local_test.aws.console import pages
from tests.unit.local_test.cli.runs.made import make_job

HOSTILE = "<script>document.title = 'taken over'</script>"


def ask(account: Account, path: str) -> tuple[int, str]:
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "wsgi.input": io.BytesIO()}
    reply = pages.answer(account, environ)
    return reply.status, reply.body.decode()


@pytest.fixture
def jobs(account: Account, tmp_path: Path) -> Path:
    account.jobs_directory = tmp_path / "jobs"
    return account.jobs_directory


def test_without_jobs_the_list_is_empty(account: Account, jobs: Path) -> None:
    status, page = ask(account, "/console/run")
    assert status == 200
    assert "Nothing here yet." in page
    assert f"Jobs of train, evaluate and transform in {jobs}" in page


def test_jobs_are_listed_with_their_metrics_and_durations(account: Account, jobs: Path) -> None:
    make_job(jobs, "good", metrics={"epoch": 3, "loss": 0.25})
    make_job(jobs, "cut-off", is_done=False)
    _, page = ask(account, "/console/run")
    assert '<a href="/console/run/training/good">good</a>' in page
    assert "loss 0.25" in page
    assert "1 min 30 s" in page
    assert "Unknown" in page


def test_a_job_has_its_curves_its_parameters_and_its_log(account: Account, jobs: Path) -> None:
    log = f"epoch=1; loss=0.7;\nepoch=2; loss=0.5;\n{HOSTILE}\n"
    make_job(jobs, "good", parameters={"rate": "0.1", "api_token": "hunter2"}, log=log)
    status, page = ask(account, "/console/run/training/good")
    assert status == 200
    assert "loss: 2 values from 0.5 to 0.7, last 0.5" in page
    assert "<dt>rate</dt><dd>0.1</dd>" in page
    assert "<dt>api_token</dt><dd>***</dd>" in page
    assert "hunter2" not in page
    assert "&lt;script&gt;document" in page
    assert HOSTILE not in page


def test_a_long_log_shows_its_end_and_says_where_the_rest_is(account: Account, jobs: Path) -> None:
    lines = "".join(f"line {number:05d} {'x' * 988}\n" for number in range(300))
    directory = make_job(jobs, "long", definitions=[], log=lines)
    _, page = ask(account, "/console/run/training/long")
    shown = [int(number) for number in re.findall(r"</span> line (\d+)", page)]
    assert shown == list(range(shown[0], 300))
    skipped = re.search(rf"(\d+) earlier lines are in {directory}/logs", page)
    assert skipped is not None
    assert abs(int(skipped[1]) - shown[0]) <= 2


def test_a_job_without_definitions_says_how_to_get_curves(account: Account, jobs: Path) -> None:
    make_job(jobs, "plain", definitions=[], log="loss=1;\n")
    _, page = ask(account, "/console/run/training/plain")
    assert "no metric definitions" in page
    assert "Pass --metric NAME=REGEX to train." in page


@pytest.mark.parametrize(
    "path",
    [
        "training/none",
        "training/..",
        "training/",
        "other/good",
        "../outside/training/x",
        "training/../../outside/training/x",
        "x",
    ],
)
def test_what_is_no_job_is_not_found(account: Account, jobs: Path, path: str) -> None:
    make_job(jobs, "good").parent.rename(jobs / "other")
    make_job(jobs, "good")
    make_job(jobs.parent / "outside", "x")
    (jobs / "request.json").write_text('{"a": 1}')
    assert ask(account, f"/console/run/{path}")[0] == 404
