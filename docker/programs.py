"""Runs other programs, retries transient failures, and explains known ones.

Rules of this file: standard library only; complaints.toml holds the known failures.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_ATTEMPTS: Final = 4


class DeliveryError(Exception):
    """A step failed for a reason that the user can fix."""


@dataclass(frozen=True)
class Complaint:
    """A known failure: a pattern of the program's output, and what to do."""

    pattern: str
    help: str
    transient: bool = False


_TABLE = tomllib.loads(Path(__file__).with_name("complaints.toml").read_text(encoding="utf-8"))
COMPLAINTS: Final = [Complaint(**row) for row in _TABLE["complaint"]]


def run(
    command: Sequence[str], *, text: str | None = None, quiet: bool = False, stream: bool = False
) -> str:
    """Run a program to its end and return its output; retry transient failures, later each time.

    `text` is its standard input. With `stream` its output is shown as it comes.

    Raises: DeliveryError, which explains a known failure.
    """
    if not quiet:
        say(shlex.join(command))
    for attempt in range(1, _ATTEMPTS + 1):
        code, output = _stream(command) if stream else _capture(command, text)
        if code == 0:
            return output
        complaint = _find_complaint(output)
        if complaint is None or not complaint.transient or attempt == _ATTEMPTS:
            break
        say(f"{_last_line(output)}; retrying in {2**attempt} s")
        time.sleep(2**attempt)
    raise DeliveryError(explain(output, f"`{' '.join(command[:3])}` ended with {code}"))


def _capture(command: Sequence[str], text: str | None) -> tuple[int, str]:
    """Return exit code and output; after a failure with standard error."""
    try:
        done = subprocess.run(
            command,
            input=text,
            capture_output=True,
            text=True,
            errors="backslashreplace",
            check=False,
        )
    except OSError as error:  # such as a script whose interpreter is gone
        program = shutil.which(command[0])
        message = f"{program} cannot be started: {error.strerror}; reinstall it"
        raise DeliveryError(message) from error
    if done.returncode == 0:
        return 0, done.stdout
    return done.returncode, done.stdout + done.stderr


def _stream(command: Sequence[str]) -> tuple[int, str]:
    """Show the output and return exit code and last lines."""
    lines: list[str] = []
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="backslashreplace",
    ) as process:
        for line in process.stdout or ():
            sys.stderr.write(line)
            lines = [*lines[-99:], line]
    return process.returncode, "".join(lines)


def _find_complaint(output: str) -> Complaint | None:
    for complaint in COMPLAINTS:
        if re.search(complaint.pattern, output, re.IGNORECASE | re.MULTILINE):
            return complaint
    return None


def explain(output: str, summary: str = "") -> str:
    """Say what to do about a known failure, then what the program itself said last."""
    complaint = _find_complaint(output)
    parts = (complaint.help if complaint else "", summary, _last_line(output))
    return "\n  ".join(part for part in parts if part)


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return (lines or [""])[-1]


def succeeds(command: Sequence[str]) -> bool:
    """Return whether a program runs and exits with 0."""
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def say(text: str) -> None:
    """Log; standard output is only for the result."""
    print(text, file=sys.stderr, flush=True)
