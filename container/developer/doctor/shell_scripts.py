"""Finds the commands with which a shell script ends: one, or one for each branch of its last `if`.

Rules of this file: pure, and no parser of a shell. What it does not understand counts as no
command, since a wrong warning costs more than a missing one.
"""

import re
from typing import Final

_OPENERS: Final = {"fi": "if", "esac": "case"}
_BRANCH: Final = re.compile(r"^\(?[^()\s][^()]*\)\s*")  # `train|--train)` of a case
_BOUNDARY: Final = re.compile(r"(else|elif|fi|esac|;;)\b|;;")
_HERE_DOCUMENT: Final = re.compile(r"<<-?\s*[\"']?\w")


def list_last_commands(text: str) -> list[str]:
    """Return the last commands of a script, whose continued lines are joined already."""
    if _HERE_DOCUMENT.search(text):
        return []
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines:
        return []
    word = lines[-1].rstrip(";")
    if word not in _OPENERS:
        return [lines[-1]]
    start = _find_opener(lines, _OPENERS[word], word)
    return _list_branch_ends(lines[start + 1 :], is_case=word == "esac")


def _find_opener(lines: list[str], opener: str, closer: str) -> int:
    """Return the index of the line that opens what the last line closes."""
    depth = 0
    for index in range(len(lines) - 1, -1, -1):
        first = re.split(r"[\s;]", lines[index], maxsplit=1)[0]
        depth += (first == closer) - (first == opener)
        if not depth:
            return index
    return 0


def _list_branch_ends(lines: list[str], *, is_case: bool) -> list[str]:
    """Return the command before each end of a branch."""
    commands = []
    previous = ""
    for line in lines:
        if is_case:
            line = _BRANCH.sub("", line)  # noqa: PLW2901 - what follows the pattern
        ends_itself = line.endswith(";;")
        command = line.removesuffix(";;").rstrip(" ;")
        if _BOUNDARY.match(line):
            command = previous
            ends_itself = True
        if ends_itself and command:
            commands.append(command)
        previous = "" if ends_itself else command
    return commands
