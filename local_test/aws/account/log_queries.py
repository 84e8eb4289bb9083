"""How events are chosen: filters of terms, and queries of CloudWatch Logs Insights.

Of Insights, there are the commands that people use on the logs of jobs:

    fields @timestamp, @message | filter @message like /loss/ and @logStream like "algo-1"
    | sort @timestamp desc | limit 20

Source: the user guide's "CloudWatch Logs Insights QL".
"""

import datetime as dt
import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NoReturn

from container.errors import UserError
from local_test import patterns
from local_test.aws.protocol.messages import AwsError

FIELDS: Final = ("@timestamp", "@message", "@logStream", "@log", "@ingestionTime", "@ptr")
COMMANDS: Final = ("fields", "display", "filter", "sort", "limit")
_MOST: Final = 10_000
_FILTER: Final = re.compile(
    r"(?P<field>@\w+)\s*(?P<sign>not\s+like|like|=~|!=|=)\s*"
    r"(?:/(?P<regex>(?:[^/\\]|\\.)*)/(?P<flags>i?)|\"(?P<double>[^\"]*)\"|'(?P<single>[^']*)')\s*",
    re.IGNORECASE,
)
_QUOTED_BAR: Final = re.compile(r"""/(?:[^/\\]|\\.)*/|"[^"]*"|'[^']*'|\|""")

Row = dict[str, str]
"""One event by field."""
Test = Callable[[Sequence[Row]], list[bool]]
"""Says of each row whether it passes."""


@dataclass
class Query:
    """A query that has been read."""

    shown: list[str] = field(default_factory=lambda: ["@timestamp", "@message"])
    tests: list[Test] = field(default_factory=list)
    sort_by: str = "@timestamp"
    is_descending: bool = True
    limit: int = _MOST

    def select(self, rows: Iterable[Row]) -> list[Row]:
        """Return the rows that pass all filters, sorted and cut, with the fields that are shown.

        Raises: AwsError if a pattern takes too long.
        """
        found = list(rows)
        for test in self.tests:
            found = list(itertools.compress(found, test(found)))
        found.sort(key=lambda row: row[self.sort_by], reverse=self.is_descending)
        names = dict.fromkeys([*self.shown, "@ptr"])
        return [{name: row[name] for name in names} for row in found[: self.limit]]


def read(text: str) -> Query:
    """Read a query. Raises: AwsError MalformedQueryException for what is wrong, or not emulated."""
    query = Query()
    for command in _split(text):
        name, _, rest = command.partition(" ")
        match name.lower():
            case "fields" | "display":
                query.shown = [_check_field(item.strip()) for item in rest.split(",")]
            case "filter":
                query.tests.append(_read_filter(rest.strip()))
            case "sort":
                _read_sort(query, rest)
            case "limit":
                query.limit = _read_limit(rest.strip())
            case _:
                _refuse(f"the command {name!r} is not emulated; use {', '.join(COMMANDS)}")
    return query


def format_time(time_ms: int) -> str:
    """Return a time as Insights shows it."""
    moment = dt.datetime.fromtimestamp(time_ms / 1000, dt.UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{time_ms % 1000:03d}"


def _split(text: str) -> list[str]:
    """Split a query at the bars that are not quoted; lines that start with # are comments."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = " ".join(lines)
    parts = []
    start = 0
    for match in _QUOTED_BAR.finditer(joined):
        if match[0] == "|":
            parts.append(joined[start : match.start()])
            start = match.end()
    parts.append(joined[start:])
    return [part.strip() for part in parts if part.strip()]


def _check_field(name: str) -> str:
    if name not in FIELDS:
        _refuse(f"the field {name!r} does not exist here; use {', '.join(FIELDS)}")
    return name


def _read_sort(query: Query, text: str) -> None:
    words = text.split()
    order = words[1].lower() if len(words) == 2 else "asc"
    if not 1 <= len(words) <= 2 or order not in ("asc", "desc"):
        _refuse(f"sort takes one field and asc or desc; found {text!r}")
    query.sort_by = _check_field(words[0])
    query.is_descending = order == "desc"


def _read_limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= _MOST):
        _refuse(f"limit takes a number from 1 to {_MOST}; found {text!r}")
    return int(text)


def _read_filter(text: str) -> Test:
    """Read conditions that are joined by `and` and `or`; `and` binds closer."""
    groups: list[list[Test]] = [[]]
    rest = text
    while True:
        match = _FILTER.match(rest)
        if match is None:
            _refuse(
                'a filter is FIELD like /REGEX/, FIELD like "TEXT", FIELD = "TEXT", or these '
                f"with not like, != and =~, joined by and, or; found {rest!r}"
            )
        groups[-1].append(_make_test(match))
        rest = rest[match.end() :]
        if not rest:
            return lambda rows: _combine(rows, groups)
        word, _, rest = rest.partition(" ")
        rest = rest.lstrip()
        if word.lower() == "or":
            groups.append([])
        elif word.lower() != "and":
            _refuse(f"expected and, or; found {word!r}")


def _combine(rows: Sequence[Row], groups: Sequence[Sequence[Test]]) -> list[bool]:
    passed = [[test(rows) for test in group] for group in groups]
    return [any(all(of[place] for of in group) for group in passed) for place in range(len(rows))]


def _make_test(match: re.Match[str]) -> Test:
    name = _check_field(match["field"])
    sign = " ".join(match["sign"].lower().split())
    quoted = match["double"] if match["double"] is not None else match["single"]
    if sign in ("=", "!="):
        if quoted is None:
            _refuse(f"{sign} compares with quoted text; use like or =~ for a pattern")
        return lambda rows: [(row[name] == quoted) is (sign == "=") for row in rows]
    try:
        flags = re.IGNORECASE if match["flags"] else 0
        text = re.escape(quoted) if quoted is not None else match["regex"]
        pattern = patterns.compile_pattern(text, flags)
    except UserError as error:
        _refuse(str(error))
    is_wanted = sign != "not like"
    return lambda rows: [
        bool(found) is is_wanted for found in _search(pattern, [row[name] for row in rows])
    ]


def _search(pattern: re.Pattern[str], texts: list[str]) -> list[list[str | None]]:
    try:
        return patterns.find_all(pattern, texts)
    except TimeoutError as error:
        _refuse(str(error))


def _refuse(reason: str) -> NoReturn:
    raise AwsError("MalformedQueryException", f"The query is refused: {reason}.")


def compile_filter(pattern: str) -> Callable[[str], bool]:
    """Compile the part of the filter language that takes terms.

    All plain terms must occur in an event, one of those after `?` if there are any, and none of
    those after `-`. A term can be in quotes.

    Raises: AwsError for another kind of pattern.
    """
    if pattern.startswith(("{", "[", "%")):
        message = (
            "The local AWS filters by terms only; patterns {...}, [...] and %...% are not emulated."
        )
        raise AwsError("InvalidParameterException", message)
    terms: dict[str, list[str]] = {"": [], "?": [], "-": []}
    for sign, quoted, plain in re.findall(r'([?-]?)(?:"([^"]*)"|([^\s"]+))', pattern):
        terms[sign].append(quoted or plain)

    def matches(text: str) -> bool:
        return (
            all(term in text for term in terms[""])
            and (not terms["?"] or any(term in text for term in terms["?"]))
            and not any(term in text for term in terms["-"])
        )

    return matches
