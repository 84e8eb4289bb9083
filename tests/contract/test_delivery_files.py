"""The files with which projects are delivered, judged by the tools that will read them."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from container.developer import init
from tests.environments import install_apart
from tests.support import ROOT


def run(*command: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a tool of the environment for delivery."""
    tools = install_apart("delivery") / "bin"
    program, *arguments = command
    environ = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    return subprocess.run(
        [tools / program, *arguments],
        cwd=cwd,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture(scope="module")
def workflows(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Path]:
    """Return our workflow, and the one that `init` writes."""
    project = tmp_path_factory.mktemp("delivered") / "my-algorithm"
    init.write(project, "script", "github")
    return (
        ROOT / ".github/workflows/ci.yml",
        project / ".github/workflows/delivery.yml",
    )


def test_workflows_fit_the_schema_of_github(workflows: Sequence[Path]) -> None:
    done = run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows)
    assert done.returncode == 0, done.stdout


def test_workflows_have_no_known_fault(workflows: Sequence[Path]) -> None:
    done = run("zizmor", "--offline", "--no-progress", "--min-severity", "low", *workflows)
    assert done.returncode == 0, done.stdout


def test_pre_commit_takes_our_configuration_our_hook_and_that_of_the_page(tmp_path: Path) -> None:
    page = (ROOT / "docs/delivery.md").read_text()
    [shown] = re.findall(r"```yaml\n(repos:.*?)```", page, re.DOTALL)
    (tmp_path / "config.yaml").write_text(shown)
    done = run("pre-commit", "validate-config", ".pre-commit-config.yaml", tmp_path / "config.yaml")
    assert done.returncode == 0, done.stdout
    done = run("pre-commit", "validate-manifest", ".pre-commit-hooks.yaml")
    assert done.returncode == 0, done.stdout


@pytest.mark.slow  # installs the package
def test_the_hook_judges_a_commit(tmp_path: Path) -> None:
    init.write(tmp_path, "script")
    environ = {"GIT_CONFIG_GLOBAL": os.devnull}
    for command in (["init", "--quiet"], ["add", "."]):
        subprocess.run(["git", *command], cwd=tmp_path, env={**os.environ, **environ}, check=True)
    hook = ("pre-commit", "try-repo", ROOT, "byo-doctor", "--all-files", "--verbose")
    done = run(*hook, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "code/train.py").write_text("def\n")
    done = run(*hook, cwd=tmp_path)
    assert done.returncode == 1
    assert "train.py" in done.stdout


def test_each_target_of_the_bake_file_is_a_stage_with_arguments_of_its_dockerfile() -> None:
    done = run("hcl2tojson", "docker-bake.hcl")
    assert done.returncode == 0, done.stderr
    document = json.loads(re.sub(r'\\"', "", done.stdout))
    targets = {
        name.strip('"'): target for block in document["target"] for name, target in block.items()
    }
    common = targets.pop("_common")
    assert set(targets) == {"cpu", "serve", "launch", "gpu"}
    for name, target in targets.items():
        assert target["inherits"] == ["_common"], name
        dockerfile = (ROOT / target["dockerfile"]).read_text()
        assert re.search(rf"(?im)^FROM .* AS {target['target']}$", dockerfile), name
        arguments = set(re.findall(r"(?m)^ARG (\w+)", dockerfile))
        assert set(common["args"]) <= arguments, name
