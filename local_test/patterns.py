"""Searches with patterns that users write, which must not hold this process up.

`re` keeps Python's lock for as long as it backtracks. So a search that could take long by the form
of its pattern happens in a process of its own, which is ended after some seconds.
"""

import functools
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, Final

from container.errors import UserError

LIMIT_S: Final = 5
_STEPS: Final = 30_000_000  # about 0.3 s
_CHOICES: Final = re.compile(r"\\(?![1-9]).|(?P<choice>[*+?{|\\])", re.DOTALL)
_NESTED: Final = re.compile(r"\)[*+{]")
_PROGRAM: Final = """
import json, re, sys
text, flags, lines = json.load(sys.stdin)
pattern = re.compile(text, flags)
group = min(pattern.groups, 1)
json.dump([[found[group] for found in pattern.finditer(line)] for line in lines], sys.stdout)
"""


def compile_pattern(text: str, flags: int = 0) -> re.Pattern[str]:
    """Compile a pattern. Raises: UserError if it is not one."""
    try:
        return re.compile(text, flags)
    except (re.error, RecursionError, OverflowError) as error:
        raise UserError(f"{text!r} is not a regular expression: {error}") from error


def find_all(pattern: re.Pattern[str], lines: Sequence[str]) -> list[list[str | None]]:
    """Return for each line what its matches hold: the first group if there is one, else all.

    Raises: TimeoutError if that takes too long.
    """
    prefix, degree = _measure(pattern)
    steps = sum(line.count(prefix) * len(line) ** degree for line in lines)
    if steps <= _STEPS:
        group = min(pattern.groups, 1)
        return [[found[group] for found in pattern.finditer(line)] for line in lines]
    command = [sys.executable, "-I", "-S", "-c", _PROGRAM]
    question = json.dumps([pattern.pattern, pattern.flags, lines])
    try:
        answer = subprocess.run(  # noqa: S603 - this Python, with a program of ours
            command, input=question, capture_output=True, text=True, check=True, timeout=LIMIT_S
        )
    except subprocess.SubprocessError:
        reason = f"takes more than {LIMIT_S} s, or too much memory,"
        raise TimeoutError(f"the pattern {pattern.pattern!r} {reason}") from None
    found: list[list[str | None]] = json.loads(answer.stdout)
    return found


@functools.lru_cache
def _measure(pattern: re.Pattern[str]) -> tuple[str, int]:
    """Return the text that each match begins with, and how steps grow with the length of a line."""
    text = pattern.pattern
    degree = sum(found["choice"] is not None for found in _CHOICES.finditer(text))
    if _NESTED.search(text):
        degree = 99
    prefix = ""
    if not pattern.flags & (re.IGNORECASE | re.VERBOSE):
        parser: Any = re._parser  # type: ignore[attr-defined] # noqa: SLF001 - no public one
        for operation, value in parser.parse(text, pattern.flags):
            if str(operation) != "LITERAL":
                break
            prefix += chr(value)
    return prefix, degree
