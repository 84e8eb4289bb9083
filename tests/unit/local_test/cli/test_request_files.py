"""A file that holds no request is refused; it never means the job of the options."""

from __future__ import annotations

from pathlib import Path

import pytest

from container.errors import UserError
from local_test.cli import request_files


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("job.json", "{}", "{}"),
        ("job.json", "[1]", r"\[1\]"),
        ("job.yaml", "", "None"),
        ("job.yaml", "a text", "a text"),
    ],
)
def test_a_file_without_fields_is_refused(name: str, text: str, found: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")

    with pytest.raises(UserError, match=f"{name} contains {found}; a request is an object"):
        request_files.load(tmp_path / name)


def test_without_a_file_there_is_no_request() -> None:
    assert request_files.load(None) is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("request.json", '{"HyperParameters": {"epochs": "1", "lr": "1", "epochs": "2"}}'),
        ("request.yaml", 'HyperParameters:\n  epochs: "1"\n  epochs: "2"\n'),
    ],
)
def test_a_name_that_is_given_twice_is_refused(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match="an object has 'epochs' twice"):
        request_files.load(tmp_path / name)
