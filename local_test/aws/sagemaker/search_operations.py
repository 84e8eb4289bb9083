"""Search: training jobs, models' packages and endpoints by what their records say."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from local_test.aws.account import resources
from local_test.aws.account.account import Account
from local_test.aws.account.resources import Kind
from local_test.aws.account.state import Record
from local_test.aws.protocol import messages
from local_test.aws.protocol.messages import reject

_KINDS: Final[Mapping[str, Kind]] = {
    "TrainingJob": resources.TRAINING_JOB,
    "HyperParameterTuningJob": resources.TUNING_JOB,
    "Endpoint": resources.ENDPOINT,
    "ModelPackage": resources.PACKAGE,
    "ModelPackageGroup": resources.PACKAGE_GROUP,
}
_MISSING: Final = object()


def search(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer Search."""
    resource = request["Resource"]
    kind = _KINDS.get(resource)
    if kind is None:
        reject(f"The local AWS searches {', '.join(_KINDS)}; found {resource}.")
    expression = request.get("SearchExpression", {})
    found = [record for record in account.store.list(kind.name) if _matches(expression, record)]
    by = request.get("SortBy", "LastModifiedTime")
    order = {"SortBy": by, "SortOrder": request.get("SortOrder", "Descending")}
    # Records without the member that is sorted by come last, whatever its type.
    having = [record for record in found if _read(record, by) is not _MISSING]
    having.sort(key=lambda record: _read(record, by), reverse=order["SortOrder"] == "Descending")
    ordered = having + [record for record in found if _read(record, by) is _MISSING]
    token, limit = request.get("NextToken") or "0", request.get("MaxResults", 10)
    if not token.isdecimal():
        reject("Invalid NextToken")
    start = int(token)
    shape = messages.summary_shape("Search", "Results").members[resource]
    more = {"NextToken": str(start + limit)} if start + limit < len(ordered) else {}
    results = [
        {resource: messages.pick(shape, record)} for record in ordered[start : start + limit]
    ]
    return {"Results": results, "TotalHits": {"Value": len(ordered), "Relation": "EqualTo"}, **more}


def _matches(expression: Mapping[str, Any], record: Record) -> bool:
    verdicts = [
        _passes(item, list(_read_all(record, item["Name"])))
        for item in expression.get("Filters", ())
    ]
    verdicts += [_matches_nested(item, record) for item in expression.get("NestedFilters", ())]
    verdicts += [_matches(item, record) for item in expression.get("SubExpressions", ())]
    return not verdicts or (any(verdicts) if expression.get("Operator") == "Or" else all(verdicts))


def _matches_nested(nested: Mapping[str, Any], record: Record) -> bool:
    """Tell whether one item of a list meets all of the filters."""
    prefix = nested["NestedPropertyName"] + "."
    return any(
        all(
            _passes(item, list(_read_all(entry, item["Name"].removeprefix(prefix))))
            for item in nested["Filters"]
        )
        for entry in _read_all(record, nested["NestedPropertyName"])
    )


def _read(record: Any, path: str) -> Any:
    return next(_read_all(record, path), _MISSING)


def _read_all(value: Any, path: str) -> Iterator[Any]:
    """Give every value at a path such as `HyperParameters.epochs` or `Tags.team`; a list is looked into."""
    if not path:
        yield from value if isinstance(value, list) else [value]
    elif isinstance(value, list):
        name, _, rest = path.partition(".")
        for item in value:
            if isinstance(item, dict) and item.get("Key") == name and not rest:
                yield item["Value"]
            yield from _read_all(item, path)
    elif isinstance(value, dict):
        name, _, rest = path.partition(".")
        if path in value and rest:  # a hyperparameter's own name may hold dots
            yield value[path]
        if name in value and not name.startswith("_"):
            yield from _read_all(value[name], rest)


def _passes(condition: Mapping[str, Any], values: list[Any]) -> bool:
    operator, wanted = condition.get("Operator", "Equals"), condition.get("Value")
    if operator in ("Exists", "NotExists"):
        is_there = bool(values)
        return is_there if operator == "Exists" else not is_there
    if wanted is None:
        reject(f"Filter {condition['Name']} needs a Value for {operator}.")
    if operator == "NotEquals":
        return all(_compare(value, wanted) != 0 for value in values)
    if operator == "In":
        return any(
            _compare(value, item.strip()) == 0 for value in values for item in wanted.split(",")
        )
    if operator == "Contains":
        return any(wanted.lower() in str(value).lower() for value in values)
    verdicts: dict[str, Callable[[int | None], bool]] = {
        "Equals": lambda sign: sign == 0,
        "GreaterThan": lambda sign: sign == 1,
        "GreaterThanOrEqualTo": lambda sign: sign in (0, 1),
        "LessThan": lambda sign: sign == -1,
        "LessThanOrEqualTo": lambda sign: sign in (0, -1),
    }
    return any(verdicts[operator](_compare(value, wanted)) for value in values)


def _compare(value: Any, wanted: str) -> int | None:
    """Compare as numbers or times where both are, else as texts; None if they cannot be compared."""
    left, right = _to_number(value), _to_number(wanted)
    if left is not None and right is not None:
        return (left > right) - (left < right)
    return (str(value) > wanted) - (str(value) < wanted)


def _to_number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        pass
    try:
        return dt.datetime.fromisoformat(str(value)).timestamp()
    except ValueError:
        return None
