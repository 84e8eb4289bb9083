"""`init`: writes a minimal project of each kind that trains and serves.

Rules of this file: the templates are files below templates/, as a user would write them; nothing is
ever overwritten.
"""

from __future__ import annotations

import argparse
import re
import shlex
import string
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from container.developer.doctor import next_command

_TEMPLATES: Final = Path(__file__).with_name("templates")
KINDS: Final = {
    "script": ("common", "script", "handlers"),
    "algorithm": ("common", "algorithm"),
    "shell": ("common", "shell", "handlers"),
    "torch": ("common", "torch"),
}
"""The folders of templates that make each kind of project."""


def write(directory: Path, kind: str) -> list[Path]:
    """Write a project of `kind` and return its files.

    Raises: FileExistsError, before anything is written, if a file already exists; OSError.
    """
    sources = {}
    for folder in KINDS[kind]:
        root = _TEMPLATES / folder
        for source in sorted(root.rglob("*")):
            if source.is_file() and source.suffix != ".pyc":
                # A later folder's file replaces an earlier one's.
                sources[directory / source.relative_to(root)] = source
    existing = [str(path) for path in sources if path.exists()]
    if existing:
        raise FileExistsError(", ".join(existing))
    # As an image may be called, and a repository of Amazon ECR.
    name = re.sub(r"[^a-z0-9]+", "-", directory.resolve().name.lower()).strip("-") or "algorithm"
    for path, source in sources.items():
        text = source.read_text(encoding="utf-8")
        if path.name == "README.md":
            text = string.Template(text).substitute(name=name, path=shlex.quote(str(directory)))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        if path.suffix == ".sh":
            path.chmod(0o755)
    return list(sources)


def main(argv: Sequence[str]) -> int:
    """Run `init` and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m container init",
        description="Write a minimal project that trains and serves.",
    )
    parser.add_argument("directory", type=Path, help="where to write the project")
    parser.add_argument(
        "--kind", choices=tuple(KINDS), default="script", help="kind of project (default: script)"
    )
    options = parser.parse_args(argv)
    try:
        files = write(options.directory, options.kind)
    except FileExistsError as error:
        print(f"nothing was written: {error} would be overwritten", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{options.directory} cannot be written: {error}", file=sys.stderr)
        return 1
    for path in files:
        print(path)
    for finding in next_command.examine():
        print(f"{finding.severity}: {finding.text}", file=sys.stderr)
    return 0
