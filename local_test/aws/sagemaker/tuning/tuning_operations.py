"""The operations of hyperparameter tuning jobs."""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from local_test.aws.account.account import Account
from local_test.aws.account.kinds import TUNING_JOB
from local_test.aws.account.records import TrainingJob, TuningJob
from local_test.aws.protocol import messages
from local_test.aws.protocol.messages import AwsError, reject
from local_test.aws.sagemaker.listing import list_page, list_resources
from local_test.aws.sagemaker.tags import merge_tags
from local_test.aws.sagemaker.tuning import tuner
from local_test.aws.sagemaker.tuning.definitions import (
    SIGNS,
    Definition,
    check_configuration,
    read_definitions,
)
from local_test.jobs.status import UNFINISHED
from local_test.requests import shapes
from local_test.requests.validation import validate

_OBJECTIVE = "FinalHyperParameterTuningJobObjectiveMetric"


def create_tuning_job(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer CreateHyperParameterTuningJob."""
    name = request["HyperParameterTuningJobName"]
    arn = account.arn(TUNING_JOB.name, name)
    faults: list[str] = []
    definitions = read_definitions(request, faults)
    check_configuration(request, definitions, faults)
    _check_parents(account, request, faults)
    if faults:
        reject("; ".join(faults))
    trials = [validate("CreateTrainingJob", item.make_request(name, {})) for item in definitions]
    now = time.time()
    kept = {key: value for key, value in request.items() if key != "Tags"}
    record = {
        **kept,
        "_request": kept,
        "_without_effect": sorted({note for trial in trials for note in trial.notes}),
        "HyperParameterTuningJobArn": arn,
        "HyperParameterTuningJobStatus": "InProgress",
        "CreationTime": now,
        "LastModifiedTime": now,
        "Tags": merge_tags([], request.get("Tags", [])),
    }
    if not account.store.insert(TUNING_JOB, name, record):
        message = (
            "Hyperparameter tuning job names must be unique within an AWS account and region, and "
            f"a tuning job with this name already exists ({arn})"
        )
        raise AwsError("ResourceInUse", message)
    tuner.start(account, name)
    return {"HyperParameterTuningJobArn": arn}


def _check_parents(account: Account, request: Mapping[str, Any], faults: list[str]) -> None:
    for parent in request.get("WarmStartConfig", {}).get("ParentHyperParameterTuningJobs", ()):
        name = parent.get("HyperParameterTuningJobName", "")
        found = account.store.find(TUNING_JOB, name)
        if found is None:
            faults.append(f"The parent tuning job {name!r} does not exist")
        elif found["HyperParameterTuningJobStatus"] in UNFINISHED:
            faults.append(f"The parent tuning job {name!r} has not ended")


def describe_tuning_job(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer DescribeHyperParameterTuningJob."""
    shape = messages.output_shape("DescribeHyperParameterTuningJob")
    return messages.pick(shape, enrich(account, _find(account, request)))


def stop_tuning_job(account: Account, request: Mapping[str, Any]) -> None:
    """Answer StopHyperParameterTuningJob."""

    def change(record: TuningJob) -> None:
        status = record["HyperParameterTuningJobStatus"]
        if status not in UNFINISHED:
            reject(f"The request was rejected because the tuning job is in status {status}.")
        record["HyperParameterTuningJobStatus"] = "Stopping"

    name = _find(account, request)["HyperParameterTuningJobName"]
    account.store.note(TUNING_JOB, name, change)
    account.notify()


def delete_tuning_job(account: Account, request: Mapping[str, Any]) -> None:
    """Answer DeleteHyperParameterTuningJob; its training jobs stay."""
    name = request["HyperParameterTuningJobName"]
    record = account.store.find(TUNING_JOB, name)
    if record is None:  # the model of this operation knows no ResourceNotFound
        reject(f"Amazon SageMaker can't find a tuning job with the name: {name}.")
    status = record["HyperParameterTuningJobStatus"]
    if status in UNFINISHED:
        reject(f"The tuning job is in status {status}; stop it, and delete it then.")
    account.store.delete(TUNING_JOB, name)


def list_tuning_jobs(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer ListHyperParameterTuningJobs."""
    return list_resources(account, "ListHyperParameterTuningJobs", request, enrich)


def list_training_jobs(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer ListTrainingJobsForHyperParameterTuningJob."""
    found = list_summaries(account, _find(account, request))
    if "StatusEquals" in request:
        status = request["StatusEquals"]
        found = [item for item in found if item["TrainingJobStatus"] == status]
    if request.get("SortBy") == "FinalObjectiveMetricValue":
        # Source: the API reference; jobs without a value are left out.
        found = [
            {**item, "FinalObjectiveMetricValue": item[_OBJECTIVE]["Value"]}
            for item in found
            if _OBJECTIVE in item
        ]
    return list_page("ListTrainingJobsForHyperParameterTuningJob", found, request)


def list_summaries(account: Account, record: TuningJob) -> list[Mapping[str, Any]]:
    """Return the summaries of a tuning job's training jobs, oldest first."""
    definitions = read_definitions(record["_request"])
    jobs = tuner.list_jobs(account, record["HyperParameterTuningJobName"])
    return [_summarize(definitions[job["_definition"]], job) for job in jobs]


def enrich(account: Account, record: TuningJob) -> Mapping[str, Any]:
    """Return a tuning job's record with what follows from its training jobs."""
    jobs = tuner.list_jobs(account, record["HyperParameterTuningJobName"])
    summaries = list_summaries(account, record)
    objectives = [summary["ObjectiveStatus"] for summary in summaries]
    config = record["HyperParameterTuningJobConfig"]
    result: dict[str, Any] = {
        **record,
        "TrainingJobStatusCounters": _count_statuses(jobs),
        "ObjectiveStatusCounters": {
            status: objectives.count(status) for status in ("Succeeded", "Pending", "Failed")
        },
        "ConsumedResources": {
            "RuntimeInSeconds": sum(job.get("TrainingTimeInSeconds", 0) for job in jobs)
        },
        "ResourceLimits": config["ResourceLimits"],
        "Strategy": config["Strategy"],
        "BestTrainingJob": _find_best(summaries),
    }
    warm = record.get("WarmStartConfig", {})
    if warm.get("WarmStartType") == "IdenticalDataAndAlgorithm":
        for parent in warm["ParentHyperParameterTuningJobs"]:
            found = account.store.find(TUNING_JOB, parent["HyperParameterTuningJobName"])
            if found is not None:
                summaries += list_summaries(account, found)
        result["OverallBestTrainingJob"] = _find_best(summaries)
    return result


def _summarize(definition: Definition, job: TrainingJob) -> dict[str, Any]:
    shape = shapes.service_model().shape_for("HyperParameterTrainingJobSummary")
    summary = {**messages.pick(shape, job), "TunedHyperParameters": job["_tuned"]}
    if definition.name:
        summary["TrainingJobDefinitionName"] = definition.name
    value = definition.final_value(job)
    if value is not None:
        summary["ObjectiveStatus"] = "Succeeded"
        summary[_OBJECTIVE] = {**definition.objective, "Value": value}
    elif job["TrainingJobStatus"] in UNFINISHED:
        summary["ObjectiveStatus"] = "Pending"
    else:
        summary["ObjectiveStatus"] = "Failed"
    return summary


def _count_statuses(jobs: Sequence[TrainingJob]) -> dict[str, int]:
    statuses = [job["TrainingJobStatus"] for job in jobs]
    lost = sum((job.get("FailureReason") or "").startswith("InternalServerError") for job in jobs)
    return {
        "Completed": statuses.count("Completed"),
        "InProgress": statuses.count("InProgress") + statuses.count("Stopping"),
        "RetryableError": lost,
        "NonRetryableError": statuses.count("Failed") - lost,
        "Stopped": statuses.count("Stopped"),
    }


def _find_best(summaries: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the summary with the best objective value, or None if none has a value."""

    def rank(summary: Mapping[str, Any]) -> float:
        objective = summary[_OBJECTIVE]
        return float(SIGNS[objective["Type"]] * objective["Value"])

    return max((item for item in summaries if _OBJECTIVE in item), key=rank, default=None)


def _find(account: Account, request: Mapping[str, Any]) -> TuningJob:
    name = request["HyperParameterTuningJobName"]
    record = account.store.find(TUNING_JOB, name)
    if record is None:
        message = f"Amazon SageMaker can't find a tuning job with the name: {name}."
        raise AwsError("ResourceNotFound", message)
    return record


def recover(account: Account) -> None:
    """Continue the tuning jobs of the last local AWS."""
    for record in account.store.list(TUNING_JOB):
        if record["HyperParameterTuningJobStatus"] in UNFINISHED:
            tuner.start(account, record["HyperParameterTuningJobName"])
