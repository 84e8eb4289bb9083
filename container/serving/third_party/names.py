"""The names of inputs and columns: those of a request, compared with the model's."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from container.errors import RequestError


def check_names(given: Mapping[str, Any], expected: Sequence[str], what: str) -> None:
    """Compare names with those of the model. Raises: RequestError 400 naming each difference."""
    missing = [name for name in expected if name not in given]
    known = set(expected)
    extra = [name for name in given if name not in known]
    if not missing and not extra:
        return
    faults = []
    if missing:
        faults.append(f"the {what} {_list(missing)} is missing")
    if extra:
        faults.append(f"the model has no {what} {_list(extra)}")
    raise RequestError(400, f"{'; '.join(faults)}; it takes {_list(expected, 50)}")


def check_distinct(names: Sequence[str]) -> None:
    """Refuse columns of one name, of which one would be lost. Raises: RequestError 400."""
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise RequestError(400, f"the columns {_list(twice)} occur twice")


def _list(names: Sequence[str], maximum: int = 10) -> str:
    shown = ", ".join(repr(name[:100]) for name in names[:maximum])
    if len(names) > maximum:
        shown += f" and {len(names) - maximum} more"
    return shown
