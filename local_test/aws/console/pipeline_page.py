"""The page of a pipeline: its executions, and the graph of one of them as it runs."""

import graphlib
import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from container.user_packages.masking import hide_secrets
from local_test.aws.account.account import Account
from local_test.aws.account.kinds import PIPELINE_EXECUTION, RESOURCES
from local_test.aws.console.job_page import measure
from local_test.aws.sagemaker.pipelines import definition
from local_test.aws.sagemaker.pipelines.definition import Step
from local_test.aws.sagemaker.pipelines.steps import DOINGS

_RUNNING: Final = ("Starting", "Executing", "Stopping")
_KINDS: Final = {kind.prefix: kind.name for kind in RESOURCES.values()}


def show_pipeline(account: Account, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the page of an execution, or of a pipeline: those of its latest one."""
    name = record["PipelineName"]
    found = [
        hide_secrets(item)
        for item in account.store.list(PIPELINE_EXECUTION)
        if item["PipelineName"] == name
    ]
    found.sort(key=lambda item: -item["CreationTime"])
    execution = record if "_steps" in record else next(iter(found), {})
    text = execution.get("_definition") or record["PipelineDefinition"]
    steps = definition.read(text).steps
    names = sort_steps(steps)
    states = execution.get("_steps", {})
    return {
        "record": execution or record,
        "pipeline": name,
        "execution": execution,
        "executions": found,
        "steps": [_show_step(steps[name], states.get(name, {})) for name in names],
        "edges": [(names.index(first), names.index(last)) for first, last in find_edges(steps)],
        "request": hide_secrets(json.loads(text)),
    }


def _show_step(step: Step, state: Mapping[str, Any]) -> dict[str, Any]:
    doing = DOINGS.get(step.kind)
    shown: dict[str, Any] = {"name": step.name, "kind": step.kind, "state": state}
    is_running = state.get("StepStatus") in _RUNNING
    shown["duration_s"] = measure(
        state.get("StartTime"), state.get("EndTime"), is_running=is_running
    )
    if doing and "Metadata" in state:
        place = state["Metadata"][doing.metadata]["Arn"].rpartition(":")[2]
        if doing.name:  # an ARN has it in lower case
            place = f"{_KINDS[doing.name.removesuffix('Name')]}/{quote(state['_job'], safe='')}"
        shown["link"] = f"/console/{place}"
    return shown


def sort_steps(steps: Mapping[str, Step]) -> list[str]:
    """Return the names of the steps, each after those that it needs."""
    graph = {name: sorted(step.needs) for name, step in steps.items()}
    return list(graphlib.TopologicalSorter(graph).static_order())


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
