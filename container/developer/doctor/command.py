"""The command `doctor`: chooses by path or name what to examine."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from container.developer.doctor import dockerfile, image, model, next_command, source_code
from container.developer.doctor.finding import Finding

_IMAGE_NAME: Final = re.compile(r"[a-z0-9][a-zA-Z0-9._/:@-]*")


def main(argv: Sequence[str]) -> int:
    """Run `doctor` and return its exit code: 1 if there is an error."""
    parser = argparse.ArgumentParser(
        prog="python -m container doctor",
        description="Report what is wrong with a project, model archive, Dockerfile or image.",
    )
    parser.add_argument(
        "path", type=Path, nargs="+", help="a file, a directory, or the name of an image"
    )
    findings = [finding for path in parser.parse_args(argv).path for finding in examine(path)]
    for finding in findings:
        print(f"{finding.severity}: {finding.text}")
    count = sum(finding.severity == "error" for finding in findings)
    print("no errors found" if not count else f"{count} error{'s' * (count > 1)}")
    return int(count > 0)


def examine(path: Path) -> list[Finding]:
    """Examine a file or directory; a path that does not exist may be an image's name."""
    if path.is_dir():
        return list(_examine_directory(path))
    if path.exists():
        examine_file = dockerfile if path.name.startswith("Dockerfile") else model
        return list(examine_file.examine(path))
    if _IMAGE_NAME.fullmatch(str(path)):
        return list(image.examine(str(path)))
    return [Finding("error", f"{path} does not exist")]


def _examine_directory(directory: Path) -> Iterator[Finding]:
    """Examine a project, a code directory or a model directory."""
    dockerfiles = sorted(directory.glob("Dockerfile*"))
    for path in dockerfiles:
        yield from dockerfile.examine(path)
        yield from dockerfile.examine_project(path, directory / "code")
    if (directory / "code").is_dir():
        yield from source_code.examine(directory / "code")
        yield from next_command.examine(directory / "code")
        if not dockerfiles:
            yield from model.examine_directory(directory)
    elif any(directory.glob("*.py")) or any(directory.glob("*.sh")):
        yield from source_code.examine(directory)
    else:
        yield from model.examine_directory(directory)
