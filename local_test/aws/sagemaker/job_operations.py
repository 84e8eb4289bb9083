"""Training, processing and transform jobs: their operations, run by the harness's own engine.

What differs between the three kinds stands in `JobKind`; their life is one: a record, a thread, a
Describe answer.
"""

from __future__ import annotations

import functools
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from container.errors import PlatformError, UserError
from local_test.aws.account.account import INTERNAL_ERROR, Account
from local_test.aws.account.kinds import MODEL, PROCESSING_JOB, TRAINING_JOB, TRANSFORM_JOB, Kind
from local_test.aws.protocol import messages
from local_test.aws.protocol.messages import AwsError, reject
from local_test.aws.sagemaker.tags import merge_tags
from local_test.data import storage
from local_test.jobs.processing import ProcessingJob
from local_test.jobs.result import Listeners, Metric
from local_test.jobs.training import TrainingJob
from local_test.jobs.transform import TransformJob
from local_test.requests import validation
from local_test.requests.validation import ValidRequest

Record = dict[str, Any]
UNFINISHED: Final = ("InProgress", "Stopping")
_MESSAGES: Final = {
    "Stopping": "Stopping the training job",
    "Restarting": "Restarting the training job after an internal error",
}
_FINAL: Final = ("Completed", "Failed", "Stopped", "MaxRuntimeExceeded", "MaxWaitTimeExceeded")
_KEPT_OF_RESULT: Final = ("StartTime", "EndTime")


@dataclass
class _End:
    """How a job ended."""

    status: str = "Failed"
    failure: str = ""
    secondary: str = ""
    message: str = ""
    description: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class JobKind:
    """What is a kind's own."""

    kind: Kind[Any]
    create: str
    """Its Create operation, whose fields the harness knows."""
    log_group: str
    start: Callable[[Account, ValidRequest, Listeners], Any]
    """Makes the harness's job of a request; it has `run` and `stop`."""
    defaults: Mapping[str, Any]
    """Members that Describe answers although the request does not name them."""
    metrics_prefix: str


def _start_training(account: Account, request: ValidRequest, listeners: Listeners) -> TrainingJob:
    directory = account.directory / "jobs/training" / request.fields["TrainingJobName"]
    runner = account.choose_runner(image_of(request.fields))
    return TrainingJob(request, runner, directory, listeners)


def _start_processing(
    account: Account, request: ValidRequest, listeners: Listeners
) -> ProcessingJob:
    directory = account.directory / "jobs/processing" / request.fields["ProcessingJobName"]
    runner = account.choose_runner(image_of(request.fields))
    return ProcessingJob(request, runner, directory, listeners)


def _start_transform(account: Account, request: ValidRequest, listeners: Listeners) -> TransformJob:
    name = request.fields["TransformJobName"]
    record = account.store.find(TRANSFORM_JOB, name)
    assert record is not None  # noqa: S101 - jobs are never deleted
    model = validation.validate("CreateModel", record["_model"])
    runner = account.choose_runner(image_of(model.fields))
    return TransformJob(
        request, model, runner, account.directory / "jobs/transform" / name, listeners
    )


def image_of(request: Mapping[str, Any]) -> str:
    """Give the image that a job or model runs."""
    for name in ("AlgorithmSpecification", "AppSpecification", "PrimaryContainer"):
        if name in request:
            return str(
                request[name].get("TrainingImage")
                or request[name].get("ImageUri")
                or request[name].get("Image", "")
            )
    return ""


TRAINING: Final = JobKind(
    TRAINING_JOB,
    "CreateTrainingJob",
    "/aws/sagemaker/TrainingJobs",
    _start_training,
    {
        "EnableNetworkIsolation": False,
        "EnableInterContainerTrafficEncryption": False,
        "EnableManagedSpotTraining": False,
        "StoppingCondition": {"MaxRuntimeInSeconds": 86400},
    },
    "Training",
)
PROCESSING: Final = JobKind(
    PROCESSING_JOB,
    "CreateProcessingJob",
    "/aws/sagemaker/ProcessingJobs",
    _start_processing,
    {"StoppingCondition": {"MaxRuntimeInSeconds": 86400}},
    "Processing",
)
TRANSFORM: Final = JobKind(
    TRANSFORM_JOB,
    "CreateTransformJob",
    "/aws/sagemaker/TransformJobs",
    _start_transform,
    {},
    "Transform",
)
JOB_KINDS: Final = (TRAINING, PROCESSING, TRANSFORM)


def create_training_job(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer CreateTrainingJob."""
    _refuse_taken_name(account, TRAINING, request["TrainingJobName"])
    return start_training_job(account, validation.admit(TRAINING.create, request), {})


def start_training_job(
    account: Account, valid: ValidRequest, extra: Mapping[str, Any]
) -> dict[str, Any]:
    """Start a training job; `extra` are members that no request can set, such as the tuning job's ARN."""
    request = valid.fields
    name = request["TrainingJobName"]
    for channel in request.get("InputDataConfig", ()):
        _check_uri(channel["DataSource"]["S3DataSource"]["S3Uri"], account)
    if "InstanceGroups" not in request["ResourceConfig"]:
        _check_instances(request["ResourceConfig"], "ResourceConfig")
    _check_quota(
        account,
        _count_instances(request),
        request["ResourceConfig"].get("InstanceType", "instance groups"),
    )
    output = request["OutputDataConfig"]["S3OutputPath"].rstrip("/")
    filled = {
        "ModelArtifacts": {"S3ModelArtifacts": f"{output}/{name}/output/model.tar.gz"},
        # SDK v2's `attach` reads members that Describe always has.
        "OutputDataConfig": {"KmsKeyId": "", **request["OutputDataConfig"]},
        "InputDataConfig": [
            {"CompressionType": "None", "RecordWrapperType": "None", **channel}
            for channel in request.get("InputDataConfig", ())
        ],
    }
    _begin(account, TRAINING, valid, {**filled, **_enter([], "Starting"), **extra})
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
    _begin(account, PROCESSING, valid, {})
    return {"ProcessingJobArn": account.arn("processing-job", name)}


def create_transform_job(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer CreateTransformJob."""
    name = request["TransformJobName"]
    _refuse_taken_name(account, TRANSFORM, name)
    model = account.store.find(MODEL, request["ModelName"])
    if model is None:
        arn = account.arn("model", request["ModelName"])
        reject(f'Could not find model "{arn}".')
    valid = validation.admit(TRANSFORM.create, request)
    _check_uri(request["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"], account)
    resources = request["TransformResources"]
    _check_quota(account, resources["InstanceCount"], resources["InstanceType"])
    _begin(account, TRANSFORM, valid, {"_model": model["_request"]})
    return {"TransformJobArn": account.arn("transform-job", name)}


def _refuse_taken_name(account: Account, job: JobKind, name: str) -> None:
    found = account.store.find(job.kind, name)
    if found is not None:
        raise AwsError(
            "ResourceInUse",
            f"{job.metrics_prefix} job names must be unique within an AWS account and region, and a job with this name "
            f"already exists ({found[job.kind.arn_name]})",
        )


def _check_uri(uri: str, account: Account) -> None:
    try:
        storage.list_objects(uri)
    except UserError as error:
        reject(
            f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure that the bucket '
            f"exists in the selected region ({account.region}) and that objects exist under that S3 prefix: {error}"
        )


def _check_instances(cluster: Mapping[str, Any], member: str) -> None:
    missing = [name for name in ("InstanceType", "InstanceCount") if name not in cluster]
    if missing:
        reject(f"{' and '.join(missing)} must be given in {member}")


def _count_instances(request: Mapping[str, Any]) -> int:
    resources = request["ResourceConfig"]
    groups = resources.get("InstanceGroups", ())
    return (
        resources.get("InstanceCount", 1)
        if not groups
        else sum(group["InstanceCount"] for group in groups)
    )


def _check_quota(account: Account, count: int, instance_type: str) -> None:
    used = sum(
        record.get("_instances", 1)
        for job in JOB_KINDS
        for record in account.store.list(job.kind)
        if record[job.kind.status_name] in UNFINISHED
    )
    account.check_quota(f"{instance_type} for job usage", used, count)


def _begin(account: Account, job: JobKind, valid: ValidRequest, extra: Mapping[str, Any]) -> None:
    request = valid.fields
    now = time.time()
    kind = job.kind
    name = request[kind.name_name]
    kept = {key: value for key, value in request.items() if key != "Tags"}
    record = {
        **job.defaults,
        **kept,
        "_request": kept,
        "_instances": _count_instances(request) if job is TRAINING else 1,
        "_attempts": 1,
        "_without_effect": list(valid.notes),
        "Tags": merge_tags([], request.get("Tags", [])),
        kind.arn_name: account.arn(kind.name, name),
        kind.status_name: "InProgress",
        "CreationTime": now,
        "LastModifiedTime": now,
        **extra,
    }
    if not account.store.insert(kind, name, record):
        _refuse_taken_name(account, job, name)
    account.start_thread(f"{kind.name} {name}", lambda: _run(account, job, valid))


def _enter(transitions: list[dict[str, Any]], status: str, message: str = "") -> dict[str, Any]:
    """Give the entries of a record whose job enters a secondary status."""
    now = time.time()
    closed = [{"EndTime": now, **entry} for entry in transitions]
    entry = {
        "Status": status,
        "StartTime": now,
        "StatusMessage": message or _MESSAGES.get(status, status),
    }
    return {"SecondaryStatus": status, "SecondaryStatusTransitions": [*closed, entry]}


def _run(account: Account, job: JobKind, request: ValidRequest) -> None:
    kind = job.kind
    name = request.fields[kind.name_name]
    begun = int(time.time())
    end = _End()

    def on_line(host: str, line: str) -> None:
        account.logs.append(job.log_group, f"{name}/{host}-{begun}", line)

    def on_status(status: str, message: str) -> None:
        end.secondary, end.message = status, message
        if job is TRAINING and status not in _FINAL:
            account.store.edit(kind, name, lambda record: _pass_through(record, status, message))
            account.notify()

    def on_metric(metric: Metric) -> None:
        account.metrics.append(name, metric)
        dimension = [{"Name": "TrainingJobName", "Value": name}]
        account.publish_metrics("/aws/sagemaker/TrainingJobs", [metric_datum(metric, dimension)])
        account.notify()

    try:
        shutil.rmtree(
            account.directory / "jobs" / job.metrics_prefix.lower() / name, ignore_errors=True
        )  # a retry's
        running = job.start(account, request, Listeners(on_line, on_status, on_metric))
        account.live[kind.name, name] = running
        # StopJob writes the record first and looks for the job after that, so one of the two sees
        # the other.
        if (account.store.find(kind, name) or {}).get(kind.status_name) == "Stopping":
            running.stop()
        result = running.run()
        end.status, end.failure, end.description = result.status, result.failure, result.description
    except UserError as error:
        end.failure = f"ClientError: {error}"
    except PlatformError as error:
        end.failure = f"InternalServerError: {error}"
    except Exception:  # noqa: BLE001 - a bug of ours ends the job, not the server
        traceback.print_exc(file=sys.stderr)
        end.failure = INTERNAL_ERROR
    finally:
        account.live.pop((kind.name, name), None)
        account.logs.finish(job.log_group, f"{name}/")
    _end(account, job, name, end)


def _pass_through(record: Record, status: str, message: str) -> None:
    if status != record["SecondaryStatus"]:
        record.update(_enter(record["SecondaryStatusTransitions"], status, message))


def _end(account: Account, job: JobKind, name: str, end: _End) -> None:
    """Write all that the end of a job changes in one step: whoever sees the status sees the rest."""
    described = messages.output_shape(job.create.replace("Create", "Describe"))
    facts = messages.serialize(described, messages.pick(described, end.description))
    names = {f"{job.metrics_prefix}{suffix}" for suffix in _KEPT_OF_RESULT}
    names |= {"ExitMessage", "TrainingTimeInSeconds", "BillableTimeInSeconds", "DataCaptureConfig"}

    def change(record: Record) -> None:
        now = time.time()
        record.update({key: value for key, value in facts.items() if key in names})
        record.setdefault(f"{job.metrics_prefix}EndTime", now)
        record.update(
            {job.kind.status_name: end.status, "FailureReason": end.failure[:1024] or None}
        )
        if job is TRAINING:
            secondary = end.secondary if end.secondary in _FINAL else end.status
            record.update(
                _enter(record["SecondaryStatusTransitions"], secondary, end.failure or end.message)
            )
            record["SecondaryStatusTransitions"][-1]["EndTime"] = time.time()
            record["FinalMetricDataList"] = final_metrics(account, name) or None

    account.store.edit(job.kind, name, change)
    account.notify()


def final_metrics(account: Account, name: str) -> list[dict[str, Any]]:
    """Give the last value of every metric of a training job."""
    return [
        {"MetricName": metric.name, "Value": metric.value, "Timestamp": metric.time_s}
        for metric in account.metrics.last(name).values()
    ]


def metric_datum(metric: Metric, dimensions: list[dict[str, str]]) -> dict[str, Any]:
    """Give a value as PutMetricData takes it."""
    return {
        "MetricName": metric.name,
        "Value": metric.value,
        "Timestamp": metric.time_s,
        "Dimensions": dimensions,
    }


def _find(account: Account, job: JobKind, request: Mapping[str, Any]) -> Record:
    name = request[job.kind.name_name]
    record: Record | None = account.store.find(job.kind, name)
    if record is None:
        text = (
            "Requested resource not found."
            if job is TRAINING
            else f"Could not find requested job with name: {name}"
        )
        reject(text)
    return record


def describe_job(account: Account, job: JobKind, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer a Describe operation."""
    record = _find(account, job, request)
    if job is TRAINING and record["TrainingJobStatus"] in UNFINISHED:
        record["FinalMetricDataList"] = final_metrics(account, record["TrainingJobName"]) or None
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
                record.update(_enter(record["SecondaryStatusTransitions"], "Stopping"))

    account.store.edit(kind, name, change)
    running = account.live.get((kind.name, name))
    if running is not None:
        running.stop()
    account.notify()
    return {}


def recover(account: Account) -> None:
    """Treat what the last local AWS left in flight as the platform would after an internal error (OUT-11)."""
    for job in JOB_KINDS:
        for record in account.store.list(job.kind):
            if record[job.kind.status_name] not in UNFINISHED:
                continue
            name = record[job.kind.name_name]
            retries = record["_request"].get("RetryStrategy", {}).get("MaximumRetryAttempts", 0)
            if (
                job is TRAINING
                and record["TrainingJobStatus"] == "InProgress"
                and record["_attempts"] <= retries
            ):
                account.metrics.forget(name)
                restart = _enter(record["SecondaryStatusTransitions"], "Restarting")
                account.store.update(job.kind, name, _attempts=record["_attempts"] + 1, **restart)
                account.start_thread(
                    f"{job.kind.name} {name}",
                    functools.partial(
                        _run, account, job, validation.validate(job.create, record["_request"])
                    ),
                )
            else:
                was_stopping = record[job.kind.status_name] == "Stopping"
                _end(
                    account,
                    job,
                    name,
                    _End("Stopped") if was_stopping else _End(failure=INTERNAL_ERROR),
                )


def stop_all(account: Account) -> None:
    """Stop every job, as its Stop operation would."""
    for job in JOB_KINDS:
        for record in account.store.list(job.kind):
            if record[job.kind.status_name] in UNFINISHED:
                stop_job(account, job, {job.kind.name_name: record[job.kind.name_name]})
