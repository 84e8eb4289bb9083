"""The command `doctor`: chooses by path or name what to examine."""

import argparse
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from container.developer.doctor import (
    dockerfile,
    image,
    model,
    next_command,
    own_programs,
    source_code,
)
from container.developer.doctor.finding import Finding
from container.errors import UserError, describe_absence, name_command
from container.training.user_script import find

SCHEMA: Final = 1
"""Version of the JSON: a member may be added, but none changes or goes without a new number."""
SEVERITIES: Final = ("error", "warning", "note")
# The rules behind a finding, at its end: `[IMG-13, TRIP-2]`.
_CLAUSES: Final = re.compile(r" \[([A-Z]+-\d+[a-z]?(?:, [A-Z]+-\d+[a-z]?)*)\]$")
_IMAGE_NAME: Final = re.compile(r"[a-z0-9][a-zA-Z0-9._/:@-]*")


def main(argv: Sequence[str]) -> int:
    """Run `doctor` and return its exit code: 1 if there is an error."""
    parser = argparse.ArgumentParser(
        prog=name_command("doctor"),
        description="Report what is wrong with a project, model archive, Dockerfile or image.",
    )
    parser.add_argument(
        "path", type=Path, nargs="+", help="a file, a directory, or the name of an image"
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    options = parser.parse_args(argv)
    every = (finding for path in options.path for finding in examine(path))
    findings = list(dict.fromkeys(every))  # each of them once
    count = sum(finding.severity == "error" for finding in findings)
    if options.json:
        print(format_json(options.path, findings))
        return int(count > 0)
    for finding in findings:
        text = finding.text.encode(errors="backslashreplace").decode()  # of names that are not text
        print(f"{finding.severity}: {text}")
    print("no errors found" if not count else f"{count} error{'s' * (count > 1)}")
    return int(count > 0)


def format_json(paths: Sequence[Path], findings: Sequence[Finding]) -> str:
    """Format findings for programs; the members are described in docs/bring-your-own.md."""
    severities = [finding.severity for finding in findings]
    document = {
        "schema": SCHEMA,
        "paths": [str(path) for path in paths],
        "counts": {name: severities.count(name) for name in SEVERITIES},
        "findings": [
            {
                "severity": finding.severity,
                "text": _CLAUSES.sub("", finding.text),
                "clauses": [
                    identity
                    for group in _CLAUSES.findall(finding.text)
                    for identity in group.split(", ")
                ],
            }
            for finding in findings
        ],
    }
    return json.dumps(document, indent=2)


def examine(path: Path) -> list[Finding]:
    """Examine a file or directory; a path that does not exist may be an image's name."""
    findings = []
    try:
        for finding in _examine(path):
            findings.append(finding)  # noqa: PERF402 - those before an error are kept
    except (UserError, OSError) as error:
        findings.append(Finding("error", str(error)))
    return findings


def _examine(path: Path) -> Iterator[Finding]:
    if path.is_dir():
        yield from _examine_directory(path)
    elif path.exists():
        examine_file = dockerfile if path.name.startswith("Dockerfile") else model
        yield from examine_file.examine(path)
    elif _IMAGE_NAME.fullmatch(str(path)):
        yield from image.examine(str(path))
    else:
        yield Finding("error", describe_absence(path))


def _examine_directory(directory: Path) -> Iterator[Finding]:
    """Examine a project, a code directory or a model directory."""
    dockerfiles = sorted(filter(Path.is_file, directory.glob("Dockerfile*")))
    found = own_programs.list_programs(directory)
    for path in dockerfiles:
        yield from dockerfile.examine(path)
        yield from dockerfile.examine_project(path, directory / "code")
        yield from dockerfile.examine_programs(path, found)
    if not dockerfiles:
        yield from own_programs.examine(found)
    code = directory / "code"
    has_program = bool(found) or any(map(dockerfile.has_entry_point, dockerfiles))
    if code.is_dir():
        yield from source_code.examine(code, has_program=has_program)
        yield from next_command.examine()
        if not (dockerfiles or found or _only_trains(directory)):
            yield from model.examine_directory(directory)
    elif found or any(directory.glob("*.py")) or any(directory.glob("*.sh")):
        yield from source_code.examine(directory, has_program=has_program)
    elif not dockerfiles:
        yield from model.examine_directory(directory)


def _only_trains(directory: Path) -> bool:
    """Return whether a directory is a project with a program that trains, and nothing else."""
    others = [path for path in directory.iterdir() if not path.name.startswith(".")]
    holds_model = any(path.name != "code" and not _is_note(path) for path in others)
    return bool(find.find_default(directory / "code")) and not holds_model


def _is_note(path: Path) -> bool:
    return path.suffix.lower() in (".md", ".txt", ".toml", ".yaml", ".yml", ".sh", ".cfg", "")
