"""The workflow and the scripts that `init --ci github` writes."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

import container
from container.developer import init
from local_test.testing import plugin
from tests.unit import byo_commands

FILES = {".github/workflows/delivery.yml", "delivery/deploy.py", "delivery/gate.py"}
PINNED = re.compile(r"uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")
OTHER_PROGRAMS = {"aws", "cut", "docker", "echo", "pytest", "python"}


def read_workflow(project: Path) -> dict[Any, Any]:
    text = (project / ".github/workflows/delivery.yml").read_text()
    parsed: dict[Any, Any] = yaml.load(text, yaml.BaseLoader)  # noqa: S506 - as GitHub: `on` is no truth
    return parsed


def list_commands(project: Path) -> Iterator[list[str]]:
    for job in read_workflow(project)["jobs"].values():
        for step in job["steps"]:
            yield from byo_commands.split_script(step.get("run", ""))


def load(project: Path, name: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(name, project / f"delivery/{name}.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("projects") / "My Algorithm_2"
    init.write(directory, "script", "github")
    return directory


@pytest.mark.parametrize("kind", init.KINDS)
def test_the_workflow_comes_with_each_kind_of_project(tmp_path: Path, kind: str) -> None:
    without = {path.relative_to(tmp_path / "a") for path in init.write(tmp_path / "a", kind)}
    with_it = init.write(tmp_path / "b", kind, "github")
    more = {path.relative_to(tmp_path / "b") for path in with_it} - without
    assert {path.as_posix() for path in more} == FILES


def test_a_project_that_exists_gets_the_workflow_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "Dockerfile").write_text("FROM mine\n")
    assert init.main([str(tmp_path), "--ci", "github"]) == 0
    *files, advice = capsys.readouterr().out.splitlines()
    assert {str(Path(line).relative_to(tmp_path)) for line in files} == FILES
    assert advice.startswith("next: ")
    assert (tmp_path / "Dockerfile").read_text() == "FROM mine\n"


def test_a_workflow_that_exists_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "delivery").mkdir()
    (tmp_path / "delivery/gate.py").write_text("mine")
    assert init.main([str(tmp_path), "--ci", "github"]) == 1
    assert "gate.py would be overwritten" in capsys.readouterr().err
    assert not (tmp_path / ".github").exists()


def test_a_kind_asks_for_a_new_project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "code").mkdir()
    assert init.main([str(tmp_path), "--ci", "github", "--kind", "script"]) == 0
    assert str(tmp_path / "code/train.py") in capsys.readouterr().out


def test_the_names_fit_images_endpoints_and_jobs(project: Path) -> None:
    environment = read_workflow(project)["env"]
    assert environment["NAME"] == "my-algorithm-2"
    assert f"byo-sagemaker=={container.__version__}" in environment["BYO_PACKAGE"]


@pytest.mark.parametrize(
    ("folder", "label"),
    [("x" * 80, "x" * 40), ("ÄÖ", "algorithm"), ("a" * 39 + "-b", "a" * 39), ("1e5", "1e5")],
)
def test_a_label_is_short_and_plain(tmp_path: Path, folder: str, label: str) -> None:
    init.write(tmp_path / folder, "script", "github")
    assert read_workflow(tmp_path / folder)["env"]["NAME"] == label


def test_actions_are_pinned_to_commits(project: Path) -> None:
    lines = (project / ".github/workflows/delivery.yml").read_text().splitlines()
    uses = [line.strip().removeprefix("- ") for line in lines if "uses:" in line]
    assert len(uses) == 5
    assert [line for line in uses if not PINNED.match(line)] == []


def test_only_the_delivery_from_main_may_take_the_role(project: Path) -> None:
    workflow = read_workflow(project)
    assert workflow["permissions"] == {"contents": "read"}
    assert set(workflow["jobs"]) == {"test", "deliver"}
    assert "permissions" not in workflow["jobs"]["test"]
    deliver = workflow["jobs"]["deliver"]
    assert deliver["permissions"] == {"contents": "read", "id-token": "write"}
    assert deliver["if"] == "github.event_name == 'push'"
    assert workflow["on"]["push"]["branches"] == ["main"]
    assert deliver["needs"] == "test"


def test_no_script_contains_an_expression(project: Path) -> None:
    """Text of others, such as a branch's name, could become part of a program."""
    steps = [step for job in read_workflow(project)["jobs"].values() for step in job["steps"]]
    assert [step["run"] for step in steps if "${{" in step.get("run", "")] == []


@pytest.mark.parametrize("kind", init.KINDS)
def test_each_command_of_ours_exists_and_takes_these_options(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    init.write(tmp_path, kind, "github")
    monkeypatch.chdir(tmp_path)
    commands = list(list_commands(tmp_path))
    ours = [words[1:] for words in commands if words[0] == "byo"]
    verbs = [words[:2] if words[0] == "aws" else words[:1] for words in ours]
    assert verbs == [["doctor"], ["conform"], ["aws", "check"], ["train"]]
    for words in ours:
        byo_commands.check(words, monkeypatch)
    assert {words[0] for words in commands} - {"byo"} <= OTHER_PROGRAMS
    scripts = [words[1] for words in commands if words[0] == "python" and words[1] != "-m"]
    assert scripts == ["delivery/gate.py", "delivery/deploy.py"]


def test_the_options_of_pytest_are_those_of_the_plug_in(project: Path) -> None:
    given = {word for words in list_commands(project) if words[0] == "pytest" for word in words[1:]}
    parser = pytest.Parser(_ispytest=True)
    plugin.pytest_addoption(parser)
    assert given == {"--sagemaker-image", "$NAME"}
    parser.parse(["--sagemaker-image", "x"])


def test_deploy_takes_the_options_of_the_workflow(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [words] = [words for words in list_commands(project) if "delivery/deploy.py" in words]
    monkeypatch.setattr("sys.argv", words[1:])
    options = load(project, "deploy").parse()
    assert options.request == Path("request.csv")
    assert options.job == Path("job.json")


@pytest.mark.parametrize(
    ("document", "rule", "end"),
    [
        ('{"FinalMetricDataList": [{"MetricName": "rows", "Value": 2.0}]}', "rows >= 2", 0),
        ('{"FinalMetricDataList": [{"MetricName": "loss", "Value": 2.0}]}', "loss < 2", 1),
        ('{"accuracy": 0.97, "classes": ["a"]}', "accuracy >= 0.9", 0),
        ('{"accuracy": NaN}', "accuracy >= 0.9", 1),
        ('{"FinalMetricDataList": []}', "rows >= 2", "has no metric 'rows'; it has: none"),
        ('{"accuracy": 1}', "accuracy", "the rule is METRIC, one of >= > <= <, NUMBER"),
        ('{"accuracy": 1}', "accuracy = 1", "not 'accuracy = 1'"),
        ('{"accuracy": 1}', "accuracy >= many", "NUMBER; not 'accuracy >= many'"),
    ],
)
def test_the_gate(
    project: Path, monkeypatch: pytest.MonkeyPatch, document: str, rule: str, end: int | str
) -> None:
    file = project / "job.json"
    file.write_text(document)
    monkeypatch.setattr("sys.argv", ["gate.py", str(file), rule])
    gate = load(project, "gate")
    if isinstance(end, int):
        assert gate.main() == end
    else:
        with pytest.raises(SystemExit, match=re.escape(end)):
            gate.main()


@pytest.mark.parametrize("kind", init.KINDS)
def test_the_metric_of_the_workflow_is_in_the_log_of_the_project(tmp_path: Path, kind: str) -> None:
    init.write(tmp_path, kind, "github")
    environment = read_workflow(tmp_path)["env"]
    name, _, pattern = environment["METRIC"].partition("=")
    assert environment["GATE"].split()[0] == name
    sources = "".join(path.read_text() for path in (tmp_path / "code").iterdir())
    # A call such as log_metrics(rows=...) prints `rows=4;`, as the others do.
    assert f"{name}=" in sources
    assert re.search(pattern, f"{name}=2;")
