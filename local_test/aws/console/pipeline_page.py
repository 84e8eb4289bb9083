"""The page of a pipeline: its executions, and the graph of one of them as it runs."""

from __future__ import annotations

import graphlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from local_test.aws.account.account import Account
from local_test.aws.account.kinds import PIPELINE_EXECUTION, RESOURCES
from local_test.aws.console.job_page import format_duration
from local_test.aws.sagemaker.pipelines import definition
from local_test.aws.sagemaker.pipelines.definition import Step
from local_test.aws.sagemaker.pipelines.pipeline_operations import UNFINISHED
from local_test.aws.sagemaker.pipelines.steps import DOINGS

ROW: Final = 56
"""Height of a step in pixels, as in style.css."""
_WIDTH: Final = 64
_AXIS: Final = _WIDTH - 12
_KINDS: Final = {kind.prefix: kind.name for kind in RESOURCES.values()}


def show_pipeline(account: Account, record: Mapping[str, Any], chosen: str) -> dict[str, Any]:
    """Return the values of a pipeline's page; `chosen` names an execution, else it is the latest.

    They lack `steps` if there is no execution of that name.
    """
    found = [
        item
        for item in account.store.list(PIPELINE_EXECUTION)
        if item["PipelineName"] == record["PipelineName"]
    ]
    found.sort(key=lambda item: -item["CreationTime"])
    named = [item for item in found if item["_name"] == chosen]
    if chosen and not named:
        return {}
    execution = next(iter(named or found), {})
    text = execution.get("_definition", record["PipelineDefinition"])
    parsed = definition.read(text)
    names = sort_steps(parsed.steps)
    states = execution.get("_steps", {})
    steps = [_show_step(parsed.steps[name], states.get(name, {})) for name in names]
    status = execution.get("PipelineExecutionStatus", "")
    return {
        "record": record,
        "execution": execution,
        "executions": found,
        "status": status,
        "is_running": status in UNFINISHED,
        "facts": execution.get("_given", {}),
        "steps": steps,
        "edges": draw_edges(names, find_edges(parsed.steps)),
        "height": ROW * len(steps),
        "width": _WIDTH,
        "axis": _AXIS,
        "row": ROW,
        "request": json.loads(text),
    }


def _show_step(step: Step, state: Mapping[str, Any]) -> dict[str, Any]:
    doing = DOINGS.get(step.kind)
    link = ""
    if doing and "_job" in state and "Metadata" in state:
        place = f"{_KINDS.get(doing.name.removesuffix('Name'))}/{quote(state['_job'], safe='')}"
        if not doing.name:  # a model package, whose name the service has chosen
            place = state["Metadata"][doing.metadata]["Arn"].rpartition(":")[2]
        link = f"/console/{place}"
    duration = ""
    if "StartTime" in state:
        duration = format_duration(state["StartTime"], state.get("EndTime"))
    return {
        "name": step.name,
        "kind": step.kind,
        "status": state.get("StepStatus", "Waiting"),
        "reason": state.get("FailureReason", ""),
        "link": link,
        "duration": duration,
    }


def sort_steps(steps: Mapping[str, Step]) -> list[str]:
    """Return the names of the steps, each after those that it needs."""
    order = {name: index for index, name in enumerate(steps)}
    sorter = graphlib.TopologicalSorter({name: step.needs for name, step in steps.items()})
    sorter.prepare()
    names: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=order.__getitem__)
        names += ready
        sorter.done(*ready)
    return names


def find_edges(steps: Mapping[str, Step]) -> list[tuple[str, str]]:
    """Return which step leads to which, without what follows from other edges."""
    before: dict[str, set[str]] = {}
    edges = []
    for name in sort_steps(steps):
        needs = steps[name].needs
        earlier = set().union(*(before[need] for need in needs))
        before[name] = earlier | needs
        edges += [(need, name) for need in sorted(needs - earlier)]
    return edges


def draw_edges(names: Sequence[str], edges: Sequence[tuple[str, str]]) -> list[str]:
    """Return paths of SVG between steps that lie one below the other, in this order."""
    paths = []
    for source, target in edges:
        first, last = names.index(source), names.index(target)
        top, bottom = (ROW * index + ROW // 2 for index in (first, last))
        bend = _AXIS - (0 if last - first == 1 else min(_AXIS + 8, 14 + 12 * (last - first)))
        paths.append(f"M{_AXIS} {top}C{bend} {top} {bend} {bottom} {_AXIS} {bottom}")
    return paths
