"""The package byo-sagemaker: what it declares, what it holds, and its command."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import byo
from local_test.cli import app, extras
from tests.support import ROOT

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DISTRIBUTIONS = {"PIL": "pillow", "ai_edge_litert": "ai-edge-litert", "sklearn": "scikit-learn"} | {
    "yaml": "pyyaml"
}
USERS_OWN = {  # what user code, an image or pip itself brings; each import is behind a check
    "pip",
    "pyarrow",
    "pytest",
    "sagemaker_training",
}
FINDS_DATA = """
import json
from setuptools.dist import Distribution
distribution = Distribution({"script_name": "setup.py"})
distribution.parse_config_files()
command = distribution.get_command_obj("build_py")
command.ensure_finalized()
files = [f"{place}/{name}" for _, place, _, names in command.data_files for name in names]
print(json.dumps([distribution.packages, files]))
"""


def list_imports(module: ast.AST) -> Iterator[str]:
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def list_distributions(*folders: str) -> set[str]:
    """List what the modules below folders import, as distributions."""
    found = set()
    for folder in folders:
        for path in (ROOT / folder).rglob("*.py"):
            if "templates" not in path.parts:
                found |= {
                    name.partition(".")[0] for name in list_imports(ast.parse(path.read_text()))
                }
    others = found - sys.stdlib_module_names - {"container", "local_test"} - USERS_OWN
    return {DISTRIBUTIONS.get(name, name) for name in others}


def name_declared(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=;! ]", text)[0] for text in requirements}


def test_everything_that_is_imported_is_declared_in_the_base_or_an_extra() -> None:
    base = name_declared(PROJECT["dependencies"])
    more = {
        extra: name_declared(names) for extra, names in PROJECT["optional-dependencies"].items()
    }
    declared = base.union(*more.values())
    imported = list_distributions("container", "local_test")
    needs_no_import = {
        "backports.strenum",
        "tensorflow-cpu",
        "debugpy",
        "ai-edge-litert",
        "mlflow-skinny",
        "wandb",
    }
    assert imported - {"keras"} == declared - needs_no_import  # TensorFlow has Keras
    assert base.isdisjoint(set().union(*more.values()))
    assert base.isdisjoint({"tensorflow", "tensorflow-cpu", "moto", "scipy", "scikit-learn"})


@pytest.mark.parametrize("library", extras.EXTRAS)
def test_the_extra_that_a_message_names_has_the_library(library: str) -> None:
    declared = name_declared(PROJECT["optional-dependencies"][extras.EXTRAS[library][0]])
    assert DISTRIBUTIONS.get(library, library) in declared


def test_every_file_of_the_sources_is_in_the_package() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FINDS_DATA], cwd=ROOT, capture_output=True, check=True
    )
    packages, packed = json.loads(done.stdout)
    tracked = subprocess.run(
        ["git", "ls-files", "container", "local_test"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    own = {"local_test/README.md", "local_test/setup.sh", "local_test/demo.sh"}  # of a checkout
    data = {name for name in tracked if not name.endswith(".py")} - own
    assert data <= set(packed)
    programs = {name for name in tracked if name.endswith(".py")}
    folders = {name.replace(".", "/") for name in packages}
    modules = {name for name in programs if str(Path(name).parent) in folders}
    assert programs == modules | set(packed) & programs
    assert not [name for name in packages if name.split(".")[0] not in ("container", "local_test")]


def test_the_command_is_this_module() -> None:
    module, _, function = PROJECT["scripts"]["byo"].partition(":")
    assert getattr(importlib.import_module(module), function) is byo.main


def test_the_help_lists_every_command() -> None:
    listed = set(re.findall(r"^  (\w+) ", byo.USAGE, re.MULTILINE))
    everything = app.assemble()
    offered = {
        info.name or info.callback.__name__
        for info in everything.registered_commands
        if info.callback and not info.hidden
    }
    offered |= {group.name for group in everything.registered_groups if group.name}
    assert listed == offered | set(byo.DEVELOPER_COMMANDS)


def test_the_help_loads_neither_side() -> None:
    program = (
        "import sys, byo; sys.argv[1:] = ['--help']; byo.main(); "
        "print([name for name in sys.modules if name in ('container', 'local_test', 'typer')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(("argument", "answer"), [("doctor", "usage:"), ("train", "Usage:")])
def test_both_sides_answer(argument: str, answer: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "byo", argument, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer in done.stdout


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("doctr", "did you mean 'doctor'?"),
        ("trian", "did you mean 'train'?"),
        ("xyzzy", "`byo --help` lists the commands"),
    ],
)
def test_a_misspelt_command_is_one_sentence(
    typed: str, hint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["byo", typed])
    assert byo.main() == 2
    assert capsys.readouterr().err == f"error: unknown command {typed!r}; {hint}\n"
