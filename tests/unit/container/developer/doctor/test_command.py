"""`doctor --json`: a schema that programs rely on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from container.developer.doctor import command


def test_the_json_has_a_stable_schema(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "train").write_bytes(b"#!/bin/sh\r\nexec true\r\n")
    (tmp_path / "train").chmod(0o755)

    code = command.main(["--json", str(tmp_path)])

    document = json.loads(capsys.readouterr().out)
    assert code == 1
    assert document.keys() == {"schema", "paths", "counts", "findings"}
    assert document["schema"] == 1
    assert document["paths"] == [str(tmp_path)]
    assert document["counts"].keys() == {"error", "warning", "note"}
    for finding in document["findings"]:
        assert finding.keys() == {"severity", "text", "clauses"}
    [crlf] = [item for item in document["findings"] if "Windows line ends" in item["text"]]
    assert crlf["severity"] == "error"
    assert crlf["clauses"] == ["IMG-13", "TRIP-2"]
    assert not crlf["text"].endswith("]")


def test_nothing_found_is_json_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "train.py").write_text("print(1)\n")
    assert command.main(["--json", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out)["counts"]["error"] == 0
