"""Compare every lock of requirements with the advisories in docker/advisories.json; no network.

    usage: python scripts/advisories.py [LOCK ...]

The file holds entries in the form of OSV.dev, the day of the last check, and the IDs that were
accepted, each with a reason. To update it, add entries (`osv.dev/vulnerability/ID`, "Download as
JSON"; only `id`, `summary` and `affected` are read), run this, and set `checked` and `statement`.
Exits with 1 if a lock holds an affected version. Needs `packaging`. Run by scripts/lint.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
ADVISORIES = ROOT / "docker/advisories.json"
_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", re.MULTILINE)


def list_locks() -> list[Path]:
    """List the files that pip installs from: those whose lines have hashes."""
    found = [*ROOT.glob("docker/requirements*.txt"), *ROOT.glob("tests/requirements*.txt")]
    return sorted(path for path in found if "--hash=" in path.read_text(encoding="utf-8"))


def read_pins(lock: str) -> set[tuple[str, str]]:
    """Return the name, in its canonical form, and the version of each package of a lock."""
    return {(canonicalize_name(name), version) for name, version in _PIN.findall(lock)}


def is_affected(version: str, affected: dict[str, Any]) -> bool:
    """Return whether an `affected` object of OSV contains a version."""
    if version in affected.get("versions", ()):
        return True
    return any(
        _is_in_range(Version(version), entry["events"])
        for entry in affected.get("ranges", ())
        if entry["type"] == "ECOSYSTEM"
    )


def _is_in_range(version: Version, events: Sequence[dict[str, str]]) -> bool:
    """Follow the events up to the version: each `introduced` begins, the others end a range."""
    inside = False
    for event in events:
        [(kind, text)] = event.items()
        at = Version(text)
        if kind == "introduced" and version >= at:
            inside = True
        elif (kind == "fixed" and version >= at) or (kind == "last_affected" and version > at):
            inside = False
    return inside


def find_affected(lock: str, document: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each package of a lock that an advisory affects and nobody accepted."""
    for name, version in sorted(read_pins(lock)):
        for entry in document["vulns"]:
            if entry["id"] in document["accepted"]:
                continue
            for affected in entry["affected"]:
                package = affected["package"]
                is_named = package["ecosystem"] == "PyPI" and package["name"].lower() == name
                if is_named and is_affected(version, affected):
                    yield f"{name} {version}: {entry['id']}, {entry['summary']}"


def main() -> int:
    """Print what is affected, and return 1 if anything is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("locks", nargs="*", type=Path, metavar="LOCK")
    document = json.loads(ADVISORIES.read_text(encoding="utf-8"))
    failed = False
    locks = parser.parse_args().locks or list_locks()
    for path in locks:
        for line in find_affected(path.read_text(encoding="utf-8"), document):
            failed = True
            print(f"{path}: {line}")
    count = len(document["vulns"])
    print(f"{len(locks)} locks, {count} advisories, last checked on {document['checked']}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
