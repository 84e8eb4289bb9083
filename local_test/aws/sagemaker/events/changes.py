"""The events that the change of a record is: names and members as on AWS.

Source: the developer guide, "Events that Amazon SageMaker AI sends to Amazon EventBridge".
"""

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from local_test.aws.account import kinds
from local_test.aws.account.kinds import Kind
from local_test.aws.protocol import messages

Record = Mapping[str, Any]
_KINDS: Final = (
    *(kinds.TRAINING_JOB, kinds.PROCESSING_JOB, kinds.TRANSFORM_JOB, kinds.ENDPOINT),
    *(kinds.PACKAGE, kinds.MODEL, kinds.MODEL_CARD),
)
_TITLES: Final[Mapping[str, str]] = {
    **{kind.name: re.sub(r"(?<=[a-z])(?=[JCP])", " ", kind.prefix) for kind in _KINDS},
    kinds.TUNING_JOB.name: "HyperParameter Tuning Job",
}
_WATCHED: Final[Mapping[str, tuple[str, ...]]] = {
    kinds.TRAINING_JOB.name: ("SecondaryStatus",),
    kinds.PACKAGE.name: ("ModelApprovalStatus",),
    kinds.MODEL_CARD.name: ("ModelCardStatus", "ModelCardVersion"),
}
"""Members beside the status of which a change is an event."""
_PIPELINE: Final = "SageMaker Model Building Pipeline Execution"
WATCHED: Final = (*_TITLES, kinds.PIPELINE_EXECUTION.name)
"""The kinds of which a change may be an event."""
_ISO: Final = (kinds.PACKAGE.name, kinds.MODEL_CARD.name)
"""The kinds of which times are texts; others have milliseconds."""


class Event(NamedTuple):
    """One event, without what EventBridge adds."""

    kind: str
    resources: tuple[str, ...]
    detail: Mapping[str, Any]


def find_events(kind: Kind[Any], before: Record | None, after: Record | None) -> Iterator[Event]:
    """Yield the events of a change; a record that is new or gone is None on one side."""
    shown = after or before
    if kind is kinds.PIPELINE_EXECUTION and after is not None:
        yield from _find_pipeline_events(before or {}, after)
    elif kind.name in _TITLES and shown is not None and _has_changed(kind, before, after):
        title = f"SageMaker {_TITLES[kind.name]} State Change"
        yield Event(title, (shown[kind.arn_name],), _describe(kind, shown))


def _has_changed(kind: Kind[Any], before: Record | None, after: Record | None) -> bool:
    if before is None or after is None:
        return after is not None or kind is kinds.MODEL
    watched = (kind.status_name, *_WATCHED.get(kind.name, ()))
    return any(before.get(name) != after.get(name) for name in watched)


def _describe(kind: Kind[Any], record: Record) -> dict[str, Any]:
    shape = messages.output_shape(f"Describe{kind.prefix}")
    shown = _show_times(shape, messages.pick(shape, record), is_iso=kind.name in _ISO)
    detail: dict[str, Any] = {**shown, "Tags": {}}
    for tag in record.get("Tags", ()):
        detail["Tags"][tag["Key"]] = tag["Value"]
    if kind is kinds.ENDPOINT:
        detail["EndpointStatus"] = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", record["EndpointStatus"])
        detail["EndpointStatus"] = detail["EndpointStatus"].upper()
    if "ModelPackageVersion" in detail:
        del detail["ModelPackageName"]
    return detail


def _show_times(shape: Any, value: Any, *, is_iso: bool) -> Any:
    """Return a value of the API as events have it."""
    if shape.type_name == "structure":
        return {
            name: _show_times(shape.members[name], item, is_iso=is_iso)
            for name, item in value.items()
            if name in shape.members and item is not None
        }
    if shape.type_name == "list":
        return [_show_times(shape.member, item, is_iso=is_iso) for item in value]
    if shape.type_name != "timestamp":
        return value
    return _format(value) if is_iso else round(messages.to_seconds(value) * 1000)


def _format(time_s: float | None) -> str | None:
    if time_s is None:
        return None
    return dt.datetime.fromtimestamp(time_s, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _find_pipeline_events(before: Record, after: Record) -> Iterator[Event]:
    arns = (after["PipelineArn"], after["PipelineExecutionArn"])
    own = {"pipelineArn": arns[0], "pipelineExecutionArn": arns[1]}
    status = after["PipelineExecutionStatus"]
    if status != before.get("PipelineExecutionStatus"):
        detail = {**own, **_describe_execution(before, after)}
        yield Event(f"{_PIPELINE} Status Change", arns, _strip(detail))
    for name, state in after["_steps"].items():
        old = before.get("_steps", {}).get(name, {}).get("StepStatus")
        if state["StepStatus"] != old:
            detail = {**own, "stepName": name, "previousStepStatus": old, **_describe_step(state)}
            yield Event(f"{_PIPELINE} Step Status Change", arns, _strip(detail))


def _describe_execution(before: Record, after: Record) -> dict[str, Any]:
    status = after["PipelineExecutionStatus"]
    end = None if status in ("Executing", "Stopping") else after["LastModifiedTime"]
    return {
        "pipelineExecutionDisplayName": after.get("PipelineExecutionDisplayName"),
        "pipelineExecutionDescription": after.get("PipelineExecutionDescription"),
        "currentPipelineExecutionStatus": status,
        "previousPipelineExecutionStatus": before.get("PipelineExecutionStatus"),
        "executionStartTime": _format(after["CreationTime"]),
        "executionEndTime": _format(end),
    }


def _describe_step(state: Record) -> dict[str, Any]:
    return {
        "stepType": state.get("_kind"),
        "metadata": _lower(state.get("Metadata", {})),
        "stepStartTime": _format(state.get("StartTime")),
        "stepEndTime": _format(state.get("EndTime")),
        "currentStepStatus": state["StepStatus"],
        "failureReason": state.get("FailureReason"),
        "cacheHitResult": _lower(state.get("CacheHitResult")),
    }


def _strip(detail: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in detail.items() if value is not None}


def _lower(value: Any) -> Any:
    """Return a value whose members begin with small letters."""
    if not isinstance(value, dict):
        return value
    return {name[:1].lower() + name[1:]: _lower(item) for name, item in value.items()}
