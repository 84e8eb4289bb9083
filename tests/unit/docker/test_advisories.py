"""No lock holds a version that an advisory of docker/advisories.json affects."""

from __future__ import annotations

import datetime as dt
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT

PROGRAM = ROOT / "scripts/advisories.py"


def load_program() -> Any:
    spec = importlib.util.spec_from_file_location("advisories", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


advisories = load_program()
DOCUMENT = json.loads(advisories.ADVISORIES.read_text())
LOCKS = advisories.list_locks()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_lock_holds_no_affected_version(lock: Path) -> None:
    assert list(advisories.find_affected(lock.read_text(), DOCUMENT)) == []


def test_every_requirements_file_with_hashes_is_checked() -> None:
    assert {"requirements-cpu.txt", "requirements-gpu.txt", "requirements-serve.txt"} <= {
        path.name for path in LOCKS
    }
    assert len(LOCKS) >= 9
    assert all(advisories.read_pins(path.read_text()) for path in LOCKS)


@pytest.mark.parametrize("entry", DOCUMENT["vulns"], ids=lambda entry: entry["id"])
def test_lock_with_the_version_before_the_fix_is_found(entry: dict[str, Any]) -> None:
    [affected] = entry["affected"]
    [introduced, fixed] = affected["ranges"][0]["events"]
    first = "0.0.1" if introduced["introduced"] == "0" else introduced["introduced"]
    name = affected["package"]["name"]
    document = {"vulns": [entry], "accepted": {}}

    lock = f"{name}=={first} \\\n    --hash=sha256:0\n"
    [line] = advisories.find_affected(lock, document)
    assert line.startswith(f"{name} {first}: {entry['id']}, ")
    lock = f"{name}=={fixed['fixed']} ; python_version < '4' \\\n    --hash=sha256:0\n"
    assert list(advisories.find_affected(lock, document)) == []
    accepted = document | {"accepted": {entry["id"]: "a reason"}}
    assert list(advisories.find_affected(f"{name}=={first}", accepted)) == []


@pytest.mark.parametrize(
    ("version", "expected"), [("1.0", False), ("1.1", True), ("1.5", False), ("2.1", True)]
)
def test_ranges_and_versions_are_those_of_osv(version: str, expected: bool) -> None:
    events = [
        {"introduced": "1.1"},
        {"fixed": "1.5"},
        {"introduced": "2.0"},
        {"last_affected": "3"},
    ]
    affected = {"versions": ["9"], "ranges": [{"type": "ECOSYSTEM", "events": events}]}

    assert advisories.is_affected(version, affected) is expected
    assert advisories.is_affected("9", affected)
    assert not advisories.is_affected("3.1", affected)


def test_the_check_is_dated_and_each_exception_has_a_reason() -> None:
    checked = dt.date.fromisoformat(DOCUMENT["checked"])

    assert checked >= dt.date(2026, 11, 28)
    assert len(DOCUMENT["statement"]) > 50
    identities = [entry["id"] for entry in DOCUMENT["vulns"]]
    assert len(set(identities)) == len(identities)
    assert set(DOCUMENT["accepted"]) <= set(identities)
    assert all(len(reason) > 20 for reason in DOCUMENT["accepted"].values())
