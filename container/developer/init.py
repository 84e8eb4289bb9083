"""`init`: writes a minimal project of each kind that trains and serves.

Rules of this file: the templates are files below templates/, as a user would write them; nothing is
ever overwritten. `%name` stands for the project's name in those that are documents.
"""

import argparse
import re
import shlex
import string
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import container
from container import errors
from container.developer.doctor import next_command
from container.errors import describe_refusal, name_command

_TEMPLATES: Final = Path(__file__).with_name("templates")
KINDS: Final = {
    "script": ("common", "script", "handlers"),
    "algorithm": ("common", "algorithm"),
    "shell": ("common", "shell", "handlers"),
    "torch": ("common", "torch"),
}
"""The folders of templates that make each kind of project."""
SERVICES: Final = {"github": "ci-github"}
"""The folder of templates that delivers a project by each service for continuous integration."""
_METRICS: Final = {"torch": ("train_loss", "train_loss < 100")}
"""What a kind of project logs, and what its delivery asks of it."""
_DOCUMENTS: Final = (".md", ".yml")
_LABEL_CHARACTERS: Final = 40  # of 63; the rest is for the number of a run


class _Document(string.Template):
    delimiter = "%"  # a dollar sign belongs to the shell and to GitHub


def write(directory: Path, kind: str, service: str | None = None) -> list[Path]:
    """Write a project of `kind`, with what delivers it by `service`, and return its files.

    Raises: FileExistsError, before anything is written, if a file already exists; OSError.
    """
    folders = KINDS[kind]
    if service:
        folders = (*folders, SERVICES[service])
    return _copy(folders, directory, *_METRICS.get(kind, ("rows", "rows >= 2")))


def add_delivery(directory: Path, service: str) -> list[Path]:
    """Write what delivers a project that exists, and return the files. Raises: as `write`."""
    return _copy((SERVICES[service],), directory, "accuracy", "accuracy >= 0.9")


def _copy(folders: Iterable[str], directory: Path, metric: str, gate: str) -> list[Path]:
    sources = {}
    for folder in folders:
        root = _TEMPLATES / folder
        for source in sorted(root.rglob("*")):
            if source.is_file() and source.suffix != ".pyc":
                # A later folder's file replaces an earlier one's.
                sources[directory / source.relative_to(root)] = source
    existing = [str(path) for path in sources if path.exists()]
    if existing:
        raise FileExistsError(", ".join(existing))
    name = _name(directory)
    values = {
        "name": name,
        "label": name[:_LABEL_CHARACTERS].rstrip("-"),
        "folder": shlex.quote(str(directory.resolve())),
        **_name_commands(directory),
        "metric": f"{metric}={metric}=([0-9.]+)",  # NAME=REGEX
        "gate": gate,
        "version": container.__version__,
    }
    for path in sources:
        path.parent.mkdir(parents=True, exist_ok=True)  # a file in the way is found before writing
    for path, source in sources.items():
        text = source.read_text(encoding="utf-8")
        if path.suffix in _DOCUMENTS:
            text = _Document(text).substitute(values)
        path.write_text(text, encoding="utf-8")
        if path.suffix == ".sh":
            path.chmod(0o755)
    return list(sources)


def _name(directory: Path) -> str:
    """Return the name of a project, as an image may be called, and a repository of Amazon ECR."""
    return re.sub(r"[^a-z0-9]+", "-", directory.resolve().name.lower()).strip("-") or "algorithm"


def _name_commands(directory: Path) -> dict[str, str]:
    """Return the commands of the README: of a checkout, or of the package, within the project."""
    path = shlex.quote(str(directory))
    names = {"byo": name_command("").rstrip(), "doctor": name_command("doctor")}
    if errors.IS_PACKAGE:
        return {**names, "path": ".", "next": f"cd {path} && {name_command('smoke')}"}
    return {**names, "path": path, "next": f"the commands in {path}/README.md"}


def main(argv: Sequence[str]) -> int:
    """Run `init` and return its exit code."""
    parser = argparse.ArgumentParser(
        prog=name_command("init"), description="Write a minimal project that trains and serves."
    )
    parser.add_argument("directory", type=Path, help="where to write the project")
    parser.add_argument("--kind", choices=tuple(KINDS), help="kind of project (default: script)")
    parser.add_argument(
        "--ci",
        choices=tuple(SERVICES),
        help="add a workflow that tests, trains and deploys it; without --kind, also to a project "
        "that exists",
    )
    options = parser.parse_args(argv)
    try:
        exists = any((options.directory / name).exists() for name in ("code", "Dockerfile"))
        if options.ci and options.kind is None and exists:
            files = add_delivery(options.directory, options.ci)
        else:
            files = write(options.directory, options.kind or "script", options.ci)
    except OSError as error:
        fault = f"{error} would be overwritten; name another directory"
        if error.errno:  # not raised by `_copy`, but by the operating system
            fault = describe_refusal(error.filename or options.directory, error)
        print(f"nothing was written: {fault}", file=sys.stderr)
        return 1
    for path in files:
        print(path)
    print(f"next: {_name_commands(options.directory)['next']}")
    for finding in next_command.examine():
        print(f"{finding.severity}: {finding.text}", file=sys.stderr)
    return 0
