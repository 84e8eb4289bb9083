"""Projects that `init` writes from the templates."""

import json
import os
import py_compile
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from container import contract, errors
from container.developer import init

COMMON = {"Dockerfile", "README.md", "data/numbers.csv", "request.csv"} | {
    ".devcontainer/devcontainer.json",
    ".vscode/launch.json",
    "AGENTS.md",
    "tests/test_project.py",
}


@pytest.mark.parametrize(
    ("kind", "files"),
    [
        ("script", {"code/train.py", "code/inference.py"}),
        ("algorithm", {"code/algorithm.py"}),
        ("shell", {"code/train.sh", "code/inference.py"}),
        (
            "torch",
            {f"code/{name}" for name in ("train.py", "inference.py", "network.py", "data.py")}
            | {"code/requirements.txt", "pytest.ini"},
        ),
    ],
)
def test_project_holds_the_files_of_its_kind(tmp_path: Path, kind: str, files: set[str]) -> None:
    written = init.write(tmp_path, kind)
    assert {path.relative_to(tmp_path).as_posix() for path in written} == COMMON | files
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(written)
    for path in written:
        assert os.access(path, os.X_OK) == (path.suffix == ".sh")


def test_readme_names_the_project_and_quotes_its_path(tmp_path: Path) -> None:
    init.write(tmp_path / "My project", "script")
    text = (tmp_path / "My project/README.md").read_text()
    assert text.startswith("# my-project\n")
    assert f"python -m container doctor '{tmp_path}/My project'\n" in text
    assert "docker build --tag my-project " in text


def test_readme_of_a_package_is_for_the_command_byo_within_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(errors, "IS_PACKAGE", True)
    with pytest.raises(SystemExit):
        init.main(["--help"])
    assert capsys.readouterr().out.startswith("usage: byo init ")
    assert init.main([str(tmp_path / "mine"), "--kind", "torch"]) == 0
    assert capsys.readouterr().out.endswith(f"\nnext: cd {tmp_path}/mine && byo smoke\n")
    text = (tmp_path / "mine/README.md").read_text()
    assert "\nbyo doctor .\nbyo smoke --no-evaluation --channel code=./code " in text
    assert "python -m" not in text
    assert f"--project {tmp_path}/mine` " in text


@pytest.mark.parametrize(
    ("folder", "name"),
    [("_Mine__2", "mine-2"), ("Größe!", "gr-e"), ("..a.b..", "a-b"), ("日本", "algorithm")],
)
def test_readme_names_an_image_as_engines_allow_it(tmp_path: Path, folder: str, name: str) -> None:
    init.write(tmp_path / folder, "script")
    text = (tmp_path / folder / "README.md").read_text()
    assert text.startswith(f"# {name}\n")
    assert f"build_and_push.sh {name} cpu --project " in text


def test_the_dev_container_lays_out_a_job_for_the_editors_configurations(tmp_path: Path) -> None:
    init.write(tmp_path, "script")
    container = json.loads((tmp_path / ".devcontainer/devcontainer.json").read_text())
    base = tmp_path / "ml"
    command = container["onCreateCommand"].replace("/opt/ml", str(base))
    command = command.replace(container["workspaceFolder"], str(tmp_path))
    subprocess.run(["sh", "-euc", command], check=True)
    assert (base / "input/data/training/numbers.csv").read_text() == "1,2\n3,4\n"
    layout = contract.Layout(base)
    assert list(contract.load_training_config(layout).channels) == ["training"]
    dockerfile = tmp_path / ".devcontainer" / container["build"]["dockerfile"]
    assert dockerfile.resolve() == (tmp_path / "Dockerfile").resolve()


def test_project_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "request.csv").write_text("mine")
    with pytest.raises(FileExistsError, match=r"request\.csv"):
        init.write(tmp_path, "script")
    assert [path.name for path in tmp_path.iterdir()] == ["request.csv"]


def test_bytecode_of_an_image_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image's build compiles every module, also the templates."""
    templates = shutil.copytree(init._TEMPLATES, tmp_path / "templates")  # noqa: SLF001 - a place
    assert py_compile.compile(str(templates / "script/code/train.py"))
    monkeypatch.setattr(init, "_TEMPLATES", templates)
    init.write(tmp_path / "project", "script")
    assert not list((tmp_path / "project").rglob("*.pyc"))


@pytest.mark.parametrize("kind", init.KINDS)
def test_no_document_keeps_a_placeholder(tmp_path: Path, kind: str) -> None:
    written = init.write(tmp_path / "p", kind, "github")
    documents = [path for path in written if path.suffix in (".md", ".yml")]
    assert len(documents) == 3
    for path in documents:
        assert not re.search(r"%\w|\$(name|path)\b", path.read_text()), path
