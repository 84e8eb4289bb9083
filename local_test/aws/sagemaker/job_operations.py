"""The operations of training, processing and transform jobs."""

import time
from collections.abc import Mapping
from typing import Any

from container.errors import UserError
from local_test import container_files
from local_test.aws.account.account import Account
from local_test.aws.account.kinds import ALGORITHM, MODEL, TUNING_JOB
from local_test.aws.protocol import messages
from local_test.aws.protocol.messages import AwsError, reject
from local_test.aws.sagemaker import live_jobs
from local_test.aws.sagemaker.live_jobs import (
    JOB_KINDS,
    PROCESSING,
    TRAINING,
    TRANSFORM,
    JobKind,
    Record,
)
from local_test.aws.sagemaker.tags import merge_tags
from local_test.data import storage
from local_test.jobs import warm_pools
from local_test.jobs.status import UNFINISHED
from local_test.requests import model_containers, validation
from local_test.requests.validation import ValidRequest


def create_training_job(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer CreateTrainingJob."""
    _refuse_taken_name(account, TRAINING, request["TrainingJobName"])
    resolved = _resolve_algorithm(account, request)
    return start_training_job(account, validation.admit(TRAINING.create, resolved), {})


def _resolve_algorithm(account: Account, request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a request with the image of the algorithm that it names, if it is of this account."""
    specification = request.get("AlgorithmSpecification", {})
    name = specification.get("AlgorithmName", "")
    named = (name, account.arn(ALGORITHM.name, name))
    for algorithm in account.store.list(ALGORITHM):
        if algorithm["AlgorithmArn"] in named or algorithm["AlgorithmName"] == name:
            own = {key: value for key, value in specification.items() if key != "AlgorithmName"}
            taken = {
                key: algorithm["TrainingSpecification"][key]
                for key in ("TrainingImage", "MetricDefinitions")
                if key in algorithm["TrainingSpecification"]
            }
            return {**request, "AlgorithmSpecification": {**taken, **own}}
    return request


def start_training_job(
    account: Account, valid: ValidRequest, extra: Mapping[str, Any]
) -> dict[str, Any]:
    """Start a training job.

    `extra` are members that no request can set, such as the tuning job's ARN.
    """
    request = valid.fields
    name = request["TrainingJobName"]
    for channel in request.get("InputDataConfig", ()):
        _check_uri(channel["DataSource"]["S3DataSource"]["S3Uri"], account)
    if "InstanceGroups" not in request["ResourceConfig"]:
        _check_instances(request["ResourceConfig"], "ResourceConfig")
    instances = _count_instances(request)
    instance_type = request["ResourceConfig"].get("InstanceType", "instance groups")
    _check_quota(account, instances, instance_type)
    output = request["OutputDataConfig"]["S3OutputPath"].rstrip("/")
    filled = {
        "_instances": instances,
        "ModelArtifacts": {"S3ModelArtifacts": f"{output}/{name}/output/model.tar.gz"},
        # SDK v2's `attach` reads members that Describe always has.
        "OutputDataConfig": {"KmsKeyId": "", **request["OutputDataConfig"]},
        "InputDataConfig": [
            {"CompressionType": "None", "RecordWrapperType": "None", **channel}
            for channel in request.get("InputDataConfig", ())
        ],
    }
    _begin(account, TRAINING, valid, {**filled, **extra})
    return {"TrainingJobArn": account.arn("training-job", name)}


def create_processing_job(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer CreateProcessingJob."""
    name = request["ProcessingJobName"]
    _refuse_taken_name(account, PROCESSING, name)
    valid = validation.admit(PROCESSING.create, request)
    for item in request.get("ProcessingInputs", ()):
        _check_uri(item.get("S3Input", {}).get("S3Uri", ""), account)
    cluster = request["ProcessingResources"]["ClusterConfig"]
    _check_instances(cluster, "ClusterConfig")
    _check_quota(account, cluster["InstanceCount"], cluster["InstanceType"])
    _begin(account, PROCESSING, valid, {"_instances": cluster["InstanceCount"]})
    return {"ProcessingJobArn": account.arn("processing-job", name)}


def create_transform_job(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer CreateTransformJob."""
    name = request["TransformJobName"]
    _refuse_taken_name(account, TRANSFORM, name)
    model = account.store.find(MODEL, request["ModelName"])
    if model is None:
        arn = account.arn("model", request["ModelName"])
        reject(f'Could not find model "{arn}".')
    fault = model_containers.find_transform_fault(model["_request"])
    if fault:
        reject(fault)
    valid = validation.admit(TRANSFORM.create, request)
    _check_uri(request["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"], account)
    resources = request["TransformResources"]
    _check_quota(account, resources["InstanceCount"], resources["InstanceType"])
    extra = {"_model": model["_request"], "_instances": resources["InstanceCount"]}
    _begin(account, TRANSFORM, valid, extra)
    return {"TransformJobArn": account.arn("transform-job", name)}


def _refuse_taken_name(account: Account, job: JobKind, name: str) -> None:
    if account.store.find(job.kind, name) is not None:
        raise _explain_taken_name(account, job, name)


def _explain_taken_name(account: Account, job: JobKind, name: str) -> AwsError:
    return AwsError(
        "ResourceInUse",
        f"{job.title} job names must be unique within an AWS account and region, and a job with "
        f"this name already exists ({account.arn(job.kind.name, name)})",
    )


def _check_uri(uri: str, account: Account) -> None:
    try:
        storage.list_objects(uri)
    except UserError as error:
        reject(
            f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure '
            f"that the bucket exists in the selected region ({account.region}) and that objects "
            f"exist under that S3 prefix: {error}"
        )


def _check_instances(cluster: Mapping[str, Any], member: str) -> None:
    missing = [name for name in ("InstanceType", "InstanceCount") if name not in cluster]
    if missing:
        reject(f"{' and '.join(missing)} must be given in {member}")


def _count_instances(request: Mapping[str, Any]) -> int:
    resources = request["ResourceConfig"]
    groups = resources.get("InstanceGroups")
    if groups:
        return sum(group["InstanceCount"] for group in groups)
    return int(resources.get("InstanceCount", 1))


def _check_quota(account: Account, count: int, instance_type: str) -> None:
    used = sum(
        record.get("_instances", 1)
        for job in JOB_KINDS
        for record in account.store.list(job.kind)
        if record[job.kind.status_name] in UNFINISHED
    )
    account.check_quota(f"{instance_type} for job usage", used, count)


def _begin(account: Account, job: JobKind, valid: ValidRequest, extra: Mapping[str, Any]) -> None:
    now = time.time()
    kind = job.kind
    name = valid.fields[kind.name_name]
    kept = {key: value for key, value in valid.fields.items() if key != "Tags"}
    record = {
        **job.defaults,
        **kept,
        "_request": kept,
        "_attempts": 1,
        "_without_effect": list(valid.notes),
        "Tags": merge_tags([], valid.fields.get("Tags", [])),
        kind.arn_name: account.arn(kind.name, name),
        kind.status_name: "InProgress",
        "CreationTime": now,
        "LastModifiedTime": now,
        **extra,
    }
    if job is TRAINING:
        live_jobs.enter(record, "Starting")
    if not account.store.insert(kind, name, record):
        raise _explain_taken_name(account, job, name)
    live_jobs.start(account, job, valid)


def _find(account: Account, job: JobKind, request: Mapping[str, Any]) -> Record:
    name = request[job.kind.name_name]
    record: Record | None = account.store.find(job.kind, name)
    if record is None:
        if job is TRAINING:
            reject("Requested resource not found.")
        reject(f"Could not find requested job with name: {name}")
    return record


def describe_job(account: Account, job: JobKind, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer a Describe operation."""
    record = _find(account, job, request)
    if job is TRAINING:
        record["WarmPoolStatus"] = warm_pools.describe(record, time.time())
        if record["TrainingJobStatus"] in UNFINISHED:
            metrics = live_jobs.final_metrics(account, record["TrainingJobName"])
            record["FinalMetricDataList"] = metrics or None
    return messages.pick(messages.output_shape(job.create.replace("Create", "Describe")), record)


def stop_job(account: Account, job: JobKind, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer a Stop operation; stopping what is stopping already changes nothing."""
    kind = job.kind
    _find(account, job, request)
    name = request[kind.name_name]

    def change(record: Record) -> None:
        if record[kind.status_name] not in UNFINISHED:
            reject(
                f"The request was rejected because the {kind.name.replace('-', ' ')} is in status "
                f"{record[kind.status_name]}."
            )
        if record[kind.status_name] != "Stopping":
            record[kind.status_name] = "Stopping"
            if job is TRAINING:
                live_jobs.enter(record, "Stopping")

    account.store.note(kind, name, change)  # a full disk must not keep a job running
    running = account.live.get((kind.name, name))
    if running is not None:
        running.stop()
    account.notify()
    return {}


def delete_job(account: Account, job: JobKind, request: Mapping[str, Any]) -> None:
    """Answer a Delete operation of jobs: the record and what is kept of it here go, not outputs.

    Raises: AwsError ResourceInUse while the job, or the tuning job that started it, runs.
    """
    kind = job.kind
    name = request[kind.name_name]
    record = account.store.find(kind, name)
    if record is None:
        raise AwsError("ResourceNotFound", f"Could not find {kind.name} {name!r}.")
    arn = record[kind.arn_name]
    if record[kind.status_name] in UNFINISHED:
        message = f"{arn} is in status {record[kind.status_name]}; stop it, and delete it then"
        raise AwsError("ResourceInUse", message)
    tuning = account.store.find(TUNING_JOB, record.get("_tuning", ""))
    if tuning is not None and tuning["HyperParameterTuningJobStatus"] in UNFINISHED:
        message = f"{arn} belongs to the tuning job {record['_tuning']!r}, which still runs"
        raise AwsError("ResourceInUse", message)
    account.store.delete(kind, name)
    if job is TRAINING:
        account.metrics.forget(name)
    container_files.remove_tree(account.directory / "jobs" / job.title.lower() / name)
    account.notify()


def update_training_job(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer UpdateTrainingJob: a warm pool lives as long as the change says (WP-1)."""
    found = _find(account, TRAINING, request)
    changes = {key: value for key, value in request.items() if key != "TrainingJobName"}

    def change(record: Record) -> None:
        for key, value in changes.items():
            is_merged = key == "ResourceConfig"
            record[key] = {**record[key], **value} if is_merged else value

    account.store.edit(TRAINING.kind, found["TrainingJobName"], change)
    return {"TrainingJobArn": found["TrainingJobArn"]}


def stop_all(account: Account) -> None:
    """Stop every job, as its Stop operation would."""
    for job in JOB_KINDS:
        for record in account.store.list(job.kind):
            if record[job.kind.status_name] in UNFINISHED:
                stop_job(account, job, {job.kind.name_name: record[job.kind.name_name]})
