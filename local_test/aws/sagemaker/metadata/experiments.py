"""Experiments: trials, and the components that belong to them."""

import functools
from collections.abc import Mapping
from typing import Any, Final

from local_test.aws.account.account import Account
from local_test.aws.account.kinds import EXPERIMENT, TRIAL, TRIAL_COMPONENT
from local_test.aws.protocol import messages
from local_test.aws.protocol.messages import reject
from local_test.aws.sagemaker.listing import list_page, select
from local_test.aws.sagemaker.metadata import resources, run_metrics
from local_test.aws.sagemaker.metadata.resources import Operation, Record, Request, Resource

_EXPERIMENTS: Final = Resource(EXPERIMENT, "Experiments")
_TRIALS: Final = Resource(TRIAL, "Trials")
_COMPONENTS: Final = Resource(TRIAL_COMPONENT, "TrialComponents")
_MAPS: Final = ("Parameters", "InputArtifacts", "OutputArtifacts")
"""What Search shows of a trial component even if it is empty; the SDK's analytics read it."""


def _create_trial(account: Account, request: Request) -> dict[str, Any]:
    resources.find(account, EXPERIMENT, request["ExperimentName"])
    return resources.create(account, _TRIALS, request)


def _delete_experiment(account: Account, request: Request) -> dict[str, Any] | None:
    name = request["ExperimentName"]
    names = [trial["ExperimentName"] for trial in account.store.list(TRIAL)]
    if name in names:
        reject(f"Experiment '{name}' still has {names.count(name)} trial(s); delete them first.")
    return resources.delete(account, _EXPERIMENTS, request)


def _delete_trial(account: Account, request: Request) -> dict[str, Any] | None:
    name = request["TrialName"]
    members = [item for item in account.store.list(TRIAL_COMPONENT) if name in _trials_of(item)]
    if members:
        reject(f"Trial '{name}' has {len(members)} trial component(s); disassociate them first.")
    return resources.delete(account, _TRIALS, request)


def _delete_component(account: Account, request: Request) -> dict[str, Any] | None:
    name = request["TrialComponentName"]
    trials = _trials_of(resources.find(account, TRIAL_COMPONENT, name))
    if trials:
        reject(f"Trial component '{name}' belongs to {', '.join(trials)}; disassociate it first.")
    account.run_metrics.forget(name)
    return resources.delete(account, _COMPONENTS, request)


def _describe_component(account: Account, request: Request) -> dict[str, Any]:
    record = resources.find(account, TRIAL_COMPONENT, request["TrialComponentName"])
    shape = messages.output_shape("DescribeTrialComponent")
    return messages.pick(shape, {**record, **run_metrics.summarize(account, record)})


def list_components(account: Account) -> list[Record]:
    """Return all trial components as Search sees them, with their metrics and parents."""
    experiments = {item["TrialName"]: item["ExperimentName"] for item in account.store.list(TRIAL)}
    return [
        {
            **record,
            **{name: record.get(name) or {} for name in _MAPS},
            **run_metrics.summarize(account, record),
            "Parents": [
                {"TrialName": name, "ExperimentName": experiments.get(name)}
                for name in _trials_of(record)
            ],
        }
        for record in account.store.list(TRIAL_COMPONENT)
    ]


def _trials_of(component: Mapping[str, Any]) -> list[str]:
    return list(component.get("_trials", []))


def _change_trials(account: Account, request: Request, *, is_member: bool) -> dict[str, Any]:
    trial = resources.find(account, TRIAL, request["TrialName"])
    component = resources.find(account, TRIAL_COMPONENT, request["TrialComponentName"])

    def change(record: Record) -> None:
        others = [name for name in _trials_of(record) if name != trial["TrialName"]]
        record["_trials"] = [*others, trial["TrialName"]] if is_member else others

    account.store.edit(TRIAL_COMPONENT, component["_name"], change)
    return {"TrialComponentArn": component["TrialComponentArn"], "TrialArn": trial["TrialArn"]}


def _list_trials(account: Account, request: Request) -> dict[str, Any]:
    found = select(account, "ListTrials", request)
    if "TrialComponentName" in request:
        name = request["TrialComponentName"]
        wanted = _trials_of(resources.find(account, TRIAL_COMPONENT, name))
        found = [trial for trial in found if trial["TrialName"] in wanted]
    return list_page("ListTrials", found, request)


def _list_components(account: Account, request: Request) -> dict[str, Any]:
    without_experiment = {key: value for key, value in request.items() if key != "ExperimentName"}
    found = select(account, "ListTrialComponents", without_experiment)
    if "ExperimentName" in request:
        trials = _list_names(account, request["ExperimentName"])
        found = [item for item in found if trials & set(_trials_of(item))]
    if "TrialName" in request:
        found = [item for item in found if request["TrialName"] in _trials_of(item)]
    if "SourceArn" in request:
        arn = request["SourceArn"]
        found = [item for item in found if item.get("Source", {}).get("SourceArn") == arn]
    return list_page("ListTrialComponents", found, request)


def _list_names(account: Account, experiment: str) -> set[str]:
    trials = account.store.list(TRIAL)
    return {trial["TrialName"] for trial in trials if trial["ExperimentName"] == experiment}


OPERATIONS: Final[Mapping[str, Operation]] = {
    **_EXPERIMENTS.operations(),
    **_TRIALS.operations(),
    **_COMPONENTS.operations(),
    "CreateTrial": _create_trial,
    "DeleteExperiment": _delete_experiment,
    "DeleteTrial": _delete_trial,
    "DeleteTrialComponent": _delete_component,
    "DescribeTrialComponent": _describe_component,
    "AssociateTrialComponent": functools.partial(_change_trials, is_member=True),
    "DisassociateTrialComponent": functools.partial(_change_trials, is_member=False),
    "ListTrials": _list_trials,
    "ListTrialComponents": _list_components,
}
