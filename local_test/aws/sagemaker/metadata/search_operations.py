"""Search: resources by the values in their records."""

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any, Final

from local_test.aws.account import kinds
from local_test.aws.account.account import Account
from local_test.aws.account.kinds import Kind
from local_test.aws.protocol import messages
from local_test.aws.protocol.messages import reject
from local_test.aws.protocol.paging import Pager
from local_test.aws.sagemaker.metadata import experiments

_KINDS: Final[Mapping[str, Kind[Any]]] = {
    "TrainingJob": kinds.TRAINING_JOB,
    "HyperParameterTuningJob": kinds.TUNING_JOB,
    "Endpoint": kinds.ENDPOINT,
    "ModelPackage": kinds.PACKAGE,
    "ModelPackageGroup": kinds.PACKAGE_GROUP,
    "Experiment": kinds.EXPERIMENT,
    "ExperimentTrial": kinds.TRIAL,
    "ExperimentTrialComponent": kinds.TRIAL_COMPONENT,
    "ModelCard": kinds.MODEL_CARD,
    "Pipeline": kinds.PIPELINE,
    "PipelineExecution": kinds.PIPELINE_EXECUTION,
}
_MEMBERS: Final = {"ExperimentTrial": "Trial", "ExperimentTrialComponent": "TrialComponent"}
"""The members of a result that are not called as the resource."""
_PAGER: Final = Pager("Search", 10)
_SIGNS: Final[Mapping[str, tuple[int, ...]]] = {
    "Equals": (0,),
    "GreaterThan": (1,),
    "GreaterThanOrEqualTo": (0, 1),
    "LessThan": (-1,),
    "LessThanOrEqualTo": (0, -1),
}
"""The results of a comparison for which an operator holds."""
_MISSING: Final = object()


def search(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer Search."""
    resource = request["Resource"]
    kind = _KINDS.get(resource)
    if kind is None:
        reject(f"The local AWS can search for {', '.join(_KINDS)}; found {resource}.")
    expression = request.get("SearchExpression", {})
    if "VisibilityConditions" in request:
        reject("VisibilityConditions is not emulated: every resource is visible here.")
    records = account.store.list(kind)
    if kind is kinds.TRIAL_COMPONENT:
        records = experiments.list_components(account)
    found = [record for record in records if matches(expression, record)]
    if request.get("CrossAccountFilterOption") == "CrossAccount":
        found = []  # no other account shares anything
    sort_by = request.get("SortBy", "LastModifiedTime")
    # Records without the member that is sorted by come last in either order.
    having = [record for record in found if _read(record, sort_by) is not _MISSING]
    missing = [record for record in found if _read(record, sort_by) is _MISSING]
    is_descending = request.get("SortOrder", "Descending") == "Descending"
    having.sort(key=lambda record: _read(record, sort_by), reverse=is_descending)
    shown, more = _PAGER.cut([*having, *missing], request)
    member = _MEMBERS.get(resource, resource)
    shape = messages.summary_shape("Search", "Results").members[member]
    results = [{member: messages.pick(shape, record)} for record in shown]
    return {"Results": results, "TotalHits": {"Value": len(found), "Relation": "EqualTo"}, **more}


def matches(expression: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
    """Return whether a record matches a SearchExpression."""
    verdicts = [_passes(item, record, item["Name"]) for item in expression.get("Filters", ())]
    verdicts += [_matches_nested(item, record) for item in expression.get("NestedFilters", ())]
    verdicts += [matches(item, record) for item in expression.get("SubExpressions", ())]
    if expression.get("Operator") == "Or":
        return any(verdicts) or not verdicts
    return all(verdicts)


def _matches_nested(nested: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
    """Return whether one entry of a list passes all of the filters."""
    prefix = nested["NestedPropertyName"]
    return any(
        all(
            _passes(item, entry, item["Name"].removeprefix(f"{prefix}."))
            for item in nested["Filters"]
        )
        for entry in _read_all(record, prefix)
    )


def _read(record: Mapping[str, Any], path: str) -> Any:
    return next(_read_all(record, path), _MISSING)


def _read_all(value: Any, path: str) -> Iterator[Any]:
    """Yield every value at a path such as `HyperParameters.epochs` or `Tags.team`."""
    if not path:
        yield from value if isinstance(value, list) else [value]
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, dict) and item.get("Key") == path:  # a tag
                yield item["Value"]
            yield from _read_all(item, path)
    elif isinstance(value, dict):
        name, _, rest = path.partition(".")
        if rest and path in value:  # the name of a hyperparameter may contain dots
            yield value[path]
        if name in value and not name.startswith("_"):
            yield from _read_all(value[name], rest)


def _passes(condition: Mapping[str, Any], place: Any, path: str) -> bool:
    operator = condition.get("Operator", "Equals")
    values = list(_read_all(place, path))
    if operator in ("Exists", "NotExists"):
        return bool(values) is (operator == "Exists")
    if "Value" not in condition:
        reject(f"Filter {condition['Name']} needs a Value for {operator}.")
    wanted = condition["Value"]
    if operator == "NotEquals":
        return not any(_holds("Equals", value, wanted) for value in values)
    return any(_holds(operator, value, wanted) for value in values)


def _holds(operator: str, value: Any, wanted: str) -> bool:
    if operator == "In":
        return any(_compare(value, item.strip()) == 0 for item in wanted.split(","))
    if operator == "Contains":
        return wanted.lower() in str(value).lower()
    return _compare(value, wanted) in _SIGNS[operator]


def _compare(value: Any, wanted: str) -> int:
    """Return -1, 0 or 1; compare as numbers or times if both are such, else as strings."""
    left = _to_number(value)
    right = _to_number(wanted)
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
