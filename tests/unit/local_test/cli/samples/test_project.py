"""Commands use the project in the current folder for what is not named."""

from __future__ import annotations

from pathlib import Path

import pytest

from container.developer import init
from local_test.cli.options import ContainerOptions, DataOptions
from local_test.cli.samples import project


@pytest.mark.parametrize("kind", init.KINDS)
def test_each_kind_that_init_writes_is_found(kind: str, tmp_path: Path) -> None:
    init.write(tmp_path, kind)
    found = project.find(tmp_path)
    assert found is not None
    assert found.request == tmp_path / "request.csv"


@pytest.mark.parametrize("missing", ["code", "data"])
def test_a_folder_that_lacks_a_part_is_no_project(missing: str, tmp_path: Path) -> None:
    init.write(tmp_path, "script")
    (tmp_path / missing).rename(tmp_path / "other")
    assert project.find(tmp_path) is None


def test_named_channels_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    init.write(tmp_path, "script")
    monkeypatch.chdir(tmp_path)
    given = DataOptions(channel=["training=elsewhere"])
    assert project.complete(given, ContainerOptions()) == (given, None)


@pytest.mark.parametrize("python", ["python", "python3", "/usr/bin/python3.12"])
def test_code_is_sent_only_to_our_own_program(
    python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    init.write(tmp_path, "script")
    monkeypatch.chdir(tmp_path)
    ours = ContainerOptions(program=f"{python} -m container")
    data, found = project.complete(DataOptions(hyperparameter=["scale=2"]), ours)
    assert found == project.Project(tmp_path)
    code, training = str(tmp_path / "code"), str(tmp_path / "data")
    assert data.channels == {"code": code, "training": training}
    assert data.hyperparameters == {"scale": "2"}
    data, _ = project.complete(DataOptions(), ContainerOptions(image="theirs"))
    assert data.channels == {"training": training}
