"""Requests that set one leaf of botocore's model at a time, made from one that sets what it must.

A leaf is a field with no fields of its own. `list_paths` finds them all, `list_values` valid values
of one, and `make_request` a valid request that sets it.
"""

import copy
from collections.abc import Iterator, Mapping
from typing import Any, Final

from local_test.requests import shapes

ARN: Final = "arn:aws:sagemaker:us-east-1:000000000000"
SCALED: Final = "endpoint/known/variant/AllTraffic"
WORDS: Final = (
    *("known", "other", "unknown-1", "us-east-1", "Metric", "1", "0.5", "1.5", "text/csv"),
    *("python", "a" * 36, "P1D", "x-y", "v1.2", "3x8", "ml.m5.large", "a" * 64, "Input"),
    *("s3://bucket/key", "https://host/path"),
    *("arn:aws:iam::000000000000:role/test", f"{ARN}:model-package/known/1"),
    *(f"{ARN}:training-job/known", f"{ARN}:hub-content/h/Model/m/1.0", f"{ARN}:app/app-abc"),
    *(f"{ARN}:mlflow-tracking-server/known", f"{ARN}:mlflow-app/app-abc"),
    *(f"{ARN}:model-card/known", f"{ARN}:training-plan/known", f"{ARN}:cluster/abcdefghijkl"),
    *("arn:aws:kms:us-east-1:000000000000:key/known", SCALED, "subnet-1", "sg-1", ".*=([0-9.]+)"),
    *("123456789012.dkr.ecr.us-east-1.amazonaws.com/image@sha256:" + "a" * 64, "/opt/ml/x"),
    *("arn:aws:fsx:us-east-1:000000000000:file-system/fs-1", "fs-12345678", "{}", "known/1"),
    *("sagemaker:variant:DesiredInstanceCount", "arn:aws:ecs:us-east-1:0:x", "a.b", "Linear"),
    *(f"{ARN}:action/known", f"{ARN}:artifact/known", f"{ARN}:context/known", "4K"),
    *(f"{ARN}:model-package-group/known", f"{ARN}:pipeline/known/execution/{'a' * 12}"),
    *(f"{ARN}:hub-content/h/DataSet/m/1.0.0", f"{ARN}:hub-content/h/Model/m/1.0.0", "1.0.0"),
    *("arn:aws:lambda:us-east-1:000000000000:function:f", "mig-1g.5gb", "sha256:" + "a" * 64),
    "arn:aws:sns:us-east-1:000000000000:topic",
)
"""Texts of which at least one fits each pattern of the model."""
_MOST: Final = 5
"""As many choices are tried, of the hundreds that there are of instance types."""
Path = tuple[str, ...]
"""Names of members; `[]` is the item of a list, `{}` the entry of a map."""


def list_paths(shape: Any, path: Path = (), inside: tuple[str, ...] = ()) -> Iterator[Path]:
    """Yield the path of each leaf; a map is one, since its keys are the user's."""
    if shape.type_name == "structure":
        if shape.name not in inside:  # expressions contain expressions
            for name, member in shape.members.items():
                yield from list_paths(member, (*path, name), (*inside, shape.name))
    elif shape.type_name == "list":
        yield from list_paths(shape.member, (*path, "[]"), inside)
    elif shape.type_name == "map" and shape.value.type_name in ("structure", "list"):
        yield from list_paths(shape.value, (*path, "{}"), inside)
    else:
        yield path


def format_path(path: Path) -> str:
    """Return a path as in the table of treatments."""
    return ".".join(path).replace(".[]", "[]").replace(".{}", "{}")


def list_values(shape: Any) -> list[Any]:  # noqa: PLR0911 - one for each type
    """Return different values that a leaf may have."""
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    match shape.type_name:
        case "boolean":
            return [True, False]
        case "timestamp":
            return [1.0, 2.0**31]
        case "blob":
            return [b"x"]
        case "integer" | "long" | "float" | "double":
            least = 1 if low is None else low
            return [least, least + 1 if high is None else min(high, least + 1), *_near(low, high)]
        case "map":
            return [{list_values(shape.key)[0]: list_values(shape.value)[0]}]
    if shape.enum:
        return shape.enum if len(shape.enum) < _MOST else [*shape.enum[:_MOST], shape.enum[-1]]
    pattern = shapes.compile_pattern(shape.metadata.get("pattern", ".*"))
    sized = [word for word in WORDS if (low or 0) <= len(word) <= (high or 2**31)]
    found = [word for word in sized if pattern.fullmatch(word)]
    found += [word for word in ("a" * (low or 0),) if not found and pattern.fullmatch(word)]
    assert found, (shape.name, shape.metadata)
    if len(found) == 1 and pattern.fullmatch(found[0][:-1] + "2"):
        found.append(found[0][:-1] + "2")
    return found


def _near(low: Any, high: Any) -> list[Any]:
    return [value for value in (0, 100) if (low or 0) <= value <= (high or 2**31)]


def make_least(shape: Any) -> Any:
    """Return the smallest valid value: required members only."""
    if shape.type_name == "structure":
        names = list(shape.required_members)
        if getattr(shape, "is_tagged_union", False):
            names = list(shape.members)[:1]
        return {name: make_least(shape.members[name]) for name in names}
    if shape.type_name == "list":
        return [make_least(shape.member) for _ in range(max(1, shape.metadata.get("min", 0)))]
    if shape.type_name == "map":
        return {list_values(shape.key)[0]: make_least(shape.value)}
    return list_values(shape)[0]


def set_leaf(shape: Any, request: Any, path: Path, value: Any) -> Any:
    """Return a request with a leaf set; what must be there for it is added."""
    if not path:
        return value
    name, rest = path[0], path[1:]
    if name == "[]":
        items = list(request) or make_least(shape)
        return [set_leaf(shape.member, items[0], rest, value), *items[1:]]
    if name == "{}":
        entries = dict(request) or make_least(shape)
        key = next(iter(entries))
        return {**entries, key: set_leaf(shape.value, entries[key], rest, value)}
    member = shape.members[name]
    inner = request.get(name) if name in request else make_least(member)
    kept = {} if getattr(shape, "is_tagged_union", False) else request
    return {**kept, name: set_leaf(member, inner, rest, value)}


def remove_leaf(shape: Any, request: Any, path: Path) -> Any:
    """Return a request without a leaf; None if it is required, so that only values can differ."""
    changed = copy.deepcopy(request)
    place, owner = changed, shape
    for name in path[:-1]:
        if name == "[]":
            place, owner = place[0], owner.member
        elif name == "{}":
            place, owner = next(iter(place.values())), owner.value
        else:
            place, owner = place[name], owner.members[name]
    last = path[-1]
    is_union = getattr(owner, "is_tagged_union", False)
    if last in ("[]", "{}") or last in owner.required_members or is_union:
        return None
    del place[last]
    return changed


def find_shape(shape: Any, path: Path) -> Any:
    """Return the shape of a leaf."""
    for name in path:
        if name == "[]":
            shape = shape.member
        elif name == "{}":
            shape = shape.value
        else:
            shape = shape.members[name]
    return shape


def vary(shape: Any, base: Mapping[str, Any], path: Path) -> Iterator[Any]:
    """Yield valid requests that differ in one leaf only, if possible one without it first."""
    if path[0] in base:
        yield base
    values = list_values(find_shape(shape, path))
    without = remove_leaf(shape, set_leaf(shape, base, path, values[0]), path)
    if without is not None:
        yield without
    for value in values:
        yield set_leaf(shape, base, path, value)
