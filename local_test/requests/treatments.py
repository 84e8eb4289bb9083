"""What the local SageMaker does with each field of a request; nothing is dropped silently.

The tables are `treatments.toml` and `kept.toml`. A field's treatment is that of its longest prefix
in the table; but what is emulated is listed to the last field, so that a field of a later API is
refused.
`python -m local_test fields` writes it to `docs/local-sagemaker-fields.md`.
"""

import importlib.resources
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Kind = Literal["emulated", "without effect", "refused", "only `up`", "shown"]
"""Only `up` means that the local AWS resolves the field before the request reaches the harness."""

_HEAD: Final = """\
# What the local SageMaker does with each request field

This page is the output of `python -m local_test fields`. A field that is not listed is treated as
its parent; below an emulated field all are listed. The treatments are:

- **emulated**: the field does what it does on SageMaker.
- **without effect**: the field is accepted and changes nothing; commands print a note.
- **refused**: a request that sets the field fails.
- **only `up`**: the local AWS takes the field; the other commands refuse it.
- **shown**: Describe, List and Search show the field, and it does nothing else, as on SageMaker.
  Operations with such fields are those of `up`; all their other fields are emulated or refused.
"""


@dataclass(frozen=True)
class Treatment:
    """What happens to a field, and why."""

    kind: Kind
    note: str


def _load(name: str) -> dict[str, dict[str, Treatment]]:
    text = importlib.resources.files(__package__).joinpath(name).read_text("utf-8")
    tables: dict[str, dict[str, Treatment]] = {}
    for operation, fields in tomllib.loads(text).items():
        tables[operation] = {}
        for path, treatment in fields.items():
            kind, _, note = treatment.partition(": ")
            tables[operation][path] = Treatment(kind, note)
    return tables


_UNKNOWN: Final = Treatment("refused", "this version does not know it")
TREATMENTS: Final[Mapping[str, Mapping[str, Treatment]]] = _load("treatments.toml")
"""For each operation, the treatments by path: `InputDataConfig[].DataSource.DatasetSource`."""
KEPT: Final = _load("kept.toml")
"""What other operations keep without acting on it, by paths that stand for all below them."""


def treat(operation: str, request: Any) -> dict[str, Treatment]:
    """Return the treatment of each path in the table that a request sets."""
    table = TREATMENTS[operation]
    found = {}
    for path in _list_paths(request, ""):
        owner = _find_owner(table, path)
        is_listed = owner == path or _has_fields(table, path)  # such as an empty list
        if table[owner].kind == "emulated" and _has_fields(table, owner) and not is_listed:
            found[path] = _UNKNOWN
        else:
            found[owner] = table[owner]
    return found


def _has_fields(table: Mapping[str, Treatment], owner: str) -> bool:
    """Return whether fields below it are listed; maps and lists of values have none."""
    return any(path.startswith((f"{owner}.", f"{owner}[")) for path in table)


def _find_owner(table: Mapping[str, Treatment], path: str) -> str:
    while path and path not in table:
        path = path[:-2] if path.endswith("[]") else path.rpartition(".")[0]
    return path


def _list_paths(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _list_paths(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value:
        for item in value:
            yield from _list_paths(item, f"{path}[]")
    elif path:
        yield path


def format_table() -> str:
    """Format the entire table as Markdown."""
    lines = [_HEAD]
    for operation, table in {**TREATMENTS, **KEPT}.items():
        lines += [f"## {operation}", "", "| field | here | note |", "|---|---|---|"]
        lines += [
            f"| `{path}` | {treatment.kind} | {treatment.note} |"
            for path, treatment in table.items()
        ]
        lines.append("")
    return "\n".join(lines)
