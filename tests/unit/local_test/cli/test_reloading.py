"""Which files an endpoint is made of, and which changes count."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from container.errors import UserError
from local_test.cli.options import ContainerOptions
from local_test.cli.reloading import Sources
from local_test.requests import shorthand


def find(container: ContainerOptions, *, model: Path | None = None, **environment: str) -> Sources:
    requests = shorthand.endpoint_requests(
        name="x", image="any", model=str(model) if model else None, environment=environment
    )
    return Sources.find(requests, container)


def test_every_kind_of_change_is_found_once(tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    file = code / "inference.py"
    file.write_text("1")
    sources = find(ContainerOptions(), model=tmp_path)
    assert sources.find_change() is None

    file.write_text("12")
    assert sources.find_change() == file
    assert sources.find_change() is None
    os.utime(file, ns=(0, 0))  # saved within the second, with the same length
    assert sources.find_change() == file
    (code / "new.py").touch()
    assert sources.find_change() == code / "new.py"
    file.unlink()
    assert sources.find_change() == file
    for generated in ("__pycache__", ".git"):
        (code / generated).mkdir()
        (code / generated / "x.py").touch()
    assert sources.find_change() is None


def test_an_archive_and_a_directory_of_code_are_watched(tmp_path: Path) -> None:
    archive = tmp_path / "model.tar.gz"
    archive.touch()
    code = tmp_path / "mine"
    code.mkdir()
    sources = find(ContainerOptions(), model=archive, SAGEMAKER_SUBMIT_DIRECTORY=str(code))
    archive.write_text("retrained")
    assert sources.find_change() == archive
    (code / "inference.py").touch()
    assert sources.find_change() == code / "inference.py"


def test_a_program_is_watched_by_its_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sources = find(ContainerOptions(program="python server.py"))
    (tmp_path / "notes.txt").touch()
    assert sources.find_change() is None
    (tmp_path / "server.py").touch()
    assert sources.find_change() == tmp_path / "server.py"


@pytest.mark.parametrize("program", ["python -m container", "python3 -m container"])
def test_nothing_to_watch_is_refused(program: str) -> None:
    with pytest.raises(UserError, match="--reload finds nothing to watch"):
        find(ContainerOptions(program=program))
