"""`runs` and `runs compare`, as typed."""

from __future__ import annotations

import html
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from container.errors import UserError
from local_test.cli.runs import command
from tests.unit.local_test.cli.runs.made import make_job


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(command, "JOBS", tmp_path / "jobs")
    home = tmp_path / "aws"
    make_job(tmp_path / "jobs", "a", parameters={"lr": "0.1"}, metrics={"loss": 0.5})
    make_job(tmp_path / "jobs", "b", parameters={"lr": "0.2"}, metrics={"loss": 0.25})
    make_job(home / "jobs", "c", metrics={"loss": 0.125}, status="Failed")
    return home


def run(home: Path, *arguments: str) -> str:
    result = CliRunner().invoke(
        command.app,
        [*arguments, "--directory", str(home)],
        catch_exceptions=False,
        standalone_mode=False,
    )
    return result.output


def test_jobs_of_both_kinds_are_listed_in_the_order_that_is_asked_for(home: Path) -> None:
    lines = run(home, "--sort", "loss").splitlines()
    assert [line.split()[0] for line in lines] == ["name", "c", "b", "a"]
    assert "c (up)" in lines[1]
    assert "loss 0.125" in lines[1]
    assert "Failed" in lines[1]
    assert "lr=0.1" in lines[3]


def test_programs_get_json(home: Path) -> None:
    listed = json.loads(run(home, "--json", "--filter", "loss<0.4", "--limit", "5"))
    assert sorted((item["name"], item["origin"]) for item in listed) == [
        ("b", "local"),
        ("c", "up"),
    ]


def test_runs_are_compared_side_by_side_and_on_a_page(home: Path, tmp_path: Path) -> None:
    text = run(home, "compare", "a", "b", "--html", str(tmp_path / "page.html"))
    lines = {line.split()[-3]: line for line in text.splitlines() if len(line.split()) >= 3}
    assert lines["lr"].startswith("* lr")
    assert "0.25 (best)" in text
    assert "0.125" not in text
    assert "Comparison of 2 runs" in (tmp_path / "page.html").read_text()


def test_secrets_are_compared_and_filtered_but_never_shown(home: Path, tmp_path: Path) -> None:
    make_job(home / "jobs", "s1", parameters={"pad_token": "<pad>", "api_key": "k"})
    make_job(home / "jobs", "s2", parameters={"pad_token": "<eos>", "api_key": "k"})
    page = tmp_path / "page.html"

    [found] = json.loads(run(home, "--json", "--filter", "pad_token=<pad>"))
    text = run(home, "compare", "s1", "s2", "--html", str(page))
    rows = json.loads(run(home, "compare", "s1", "s2", "--json"))["parameters"]

    assert (found["name"], found["parameters"]) == ("s1", {"pad_token": "***", "api_key": "***"})
    assert [row["differs"] for row in rows] == [True, False]
    assert {value for row in rows for value in row["values"]} == {"***"}
    assert "* pad_token" in text
    assert '<tr class="differs"><th scope="row">pad_token' in page.read_text()
    for shown in (text, page.read_text(), run(home)):
        assert "***" in shown
        assert "<pad>" not in html.unescape(shown)


def test_one_run_is_not_a_comparison(home: Path) -> None:
    with pytest.raises(UserError, match="needs two runs"):
        run(home, "compare", "a")
