"""Jobs that run: each has a record, a thread, and a job of the harness.

What differs between training, processing and transform jobs is in `JobKind`.
"""

import contextlib
import functools
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from container import contract
from container.errors import PlatformError, UserError
from local_test import container_files
from local_test.aws.account.account import Account
from local_test.aws.account.kinds import PROCESSING_JOB, TRAINING_JOB, TRANSFORM_JOB, Kind
from local_test.aws.protocol import messages
from local_test.aws.sagemaker.hosting.image_runner import ImageRunner
from local_test.jobs import status, warm_pools
from local_test.jobs.job import Job
from local_test.jobs.processing import ProcessingJob
from local_test.jobs.result import Listeners, Metric
from local_test.jobs.training import TrainingJob
from local_test.jobs.transform import TransformJob
from local_test.requests.model_containers import list_containers
from local_test.requests.validation import ValidRequest, validate

Record = dict[str, Any]
_KEPT_MEMBERS: Final = (
    "ExitMessage",
    "TrainingTimeInSeconds",
    "BillableTimeInSeconds",
    "DataCaptureConfig",
)
"""Members of the harness's description that the record keeps, besides when the job ran."""


@dataclass(frozen=True)
class JobKind:
    """What differs between kinds of jobs."""

    kind: Kind[Any]
    title: str
    """As in members and log groups: `Training`."""
    start: Callable[[Account, ValidRequest, Listeners], Job]
    """Makes the harness's job of a request."""
    defaults: Mapping[str, Any]
    """Members that Describe returns although the request does not set them."""

    @property
    def create(self) -> str:
        """The operation that creates one."""
        return f"Create{self.kind.prefix}"

    @property
    def log_group(self) -> str:
        """Where its logs are."""
        return f"/aws/sagemaker/{self.kind.prefix}s"


def _start_job(
    make: type[Job], account: Account, request: ValidRequest, listeners: Listeners
) -> Job:
    name = request.fields[f"{make.kind}JobName"]
    runner = account.choose_runner(image_of(request.fields))
    return make(request, runner, account.directory / "jobs" / make.kind.lower() / name, listeners)


def _start_transform(account: Account, request: ValidRequest, listeners: Listeners) -> Job:
    name = request.fields["TransformJobName"]
    record = account.store.find(TRANSFORM_JOB, name)
    assert record is not None  # noqa: S101 - a job that runs is not deleted
    model = validate("CreateModel", record["_model"])
    runner = ImageRunner(account.choose_runner, image_of(model.fields))
    directory = account.directory / "jobs/transform" / name
    return TransformJob(request, model, runner, directory, listeners)


def image_of(request: Mapping[str, Any]) -> str:
    """Return the image that a job or model runs, the first one of several."""
    for name in ("AlgorithmSpecification", "AppSpecification"):
        container = request.get(name, {})
        for member in ("TrainingImage", "ImageUri"):
            if container.get(member):
                return str(container[member])
    return list_containers(request)[0].image


def name_stream(host: str, begun_s: int) -> str:
    """Return the end of the name of a host's log stream; one of several containers has a part."""
    instance, _, container = host.partition(".")
    return f"{instance}-{begun_s}/{container}".rstrip("/")


TRAINING: Final = JobKind(
    TRAINING_JOB,
    "Training",
    functools.partial(_start_job, TrainingJob),
    {
        "EnableNetworkIsolation": False,
        "EnableInterContainerTrafficEncryption": False,
        "EnableManagedSpotTraining": False,
        "StoppingCondition": {"MaxRuntimeInSeconds": 86400},
    },
)
PROCESSING: Final = JobKind(
    PROCESSING_JOB,
    "Processing",
    functools.partial(_start_job, ProcessingJob),
    {"StoppingCondition": {"MaxRuntimeInSeconds": 86400}},
)
TRANSFORM: Final = JobKind(TRANSFORM_JOB, "Transform", _start_transform, {})
JOB_KINDS: Final = (TRAINING, PROCESSING, TRANSFORM)


@dataclass
class _End:
    """How a job ended."""

    status: str = "Failed"
    failure: str = ""
    secondary: str = ""
    message: str = ""
    description: Mapping[str, Any] = field(default_factory=dict)


def start(account: Account, job: JobKind, request: ValidRequest) -> None:
    """Run the job of a record in a thread."""
    name = request.fields[job.kind.name_name]
    account.start_thread(f"{job.kind.name} {name}", lambda: _run(account, job, request))


def enter(record: Record, secondary: str, message: str = "") -> None:
    """Let a training job enter a secondary status, unless it may not follow the present one."""
    history = record.get("SecondaryStatusTransitions", [])
    if not history or status.may_follow(history[-1]["Status"], secondary):
        history = status.enter(history, secondary, time.time(), message)
        record["SecondaryStatus"] = secondary
        record["SecondaryStatusTransitions"] = history


def _run(account: Account, job: JobKind, request: ValidRequest) -> None:
    kind = job.kind
    name = request.fields[kind.name_name]
    begun = int(time.time())
    end = _End()

    def on_line(host: str, line: str) -> None:
        account.logs.append(job.log_group, f"{name}/{name_stream(host, begun)}", line)

    def on_status(secondary: str, message: str) -> None:
        end.secondary = secondary
        end.message = message
        if job is TRAINING and secondary not in status.ENDS:  # an end is written with the result
            account.store.note(kind, name, lambda record: enter(record, secondary, message))
            account.notify()

    def on_metric(metric: Metric) -> None:
        account.metrics.append(name, metric)
        dimension = [{"Name": "TrainingJobName", "Value": name}]
        account.publish_metrics("/aws/sagemaker/TrainingJobs", [metric_datum(metric, dimension)])
        account.notify()

    try:
        leftover = account.directory / "jobs" / job.title.lower() / name
        container_files.remove_tree(leftover)  # of an attempt that the local AWS broke off
        on_prepared = _take_pool(account, request.fields) if job is TRAINING else _leave
        listeners = Listeners(on_line, on_status, on_metric, on_prepared)
        running = job.start(account, request, listeners)
        account.live[kind.name, name] = running
        # StopJob writes the record before it looks for the job, so one of the two sees the other.
        if (account.store.find(kind, name) or {}).get(kind.status_name) == "Stopping":
            running.stop()
        result = running.run()
        end.status = result.status
        end.failure = result.failure
        end.description = result.description
        for finding in result.findings:
            on_line(running.hosts[0], f"[sagemaker logs]: finding: {finding}")
    except UserError as error:
        end.failure = f"ClientError: {error}"
    except PlatformError as error:
        end.failure = f"InternalServerError: {error}"
    except Exception:  # noqa: BLE001 - a bug of ours ends the job, not the server
        traceback.print_exc(file=sys.stderr)
        end.failure = status.INTERNAL_ERROR_MESSAGE
    finally:
        account.live.pop((kind.name, name), None)
        account.logs.finish(job.log_group, f"{name}/")
    _end(account, job, name, end)


def _leave(layout: contract.Layout) -> None:
    """Change nothing before a container starts."""


def _take_pool(account: Account, request: Mapping[str, Any]) -> Callable[[contract.Layout], None]:
    """Take the warm pool of a job like this one; return what gives its cache to a host (WP-1)."""
    take = functools.partial(warm_pools.take, request=request, now_s=time.time())
    for record in account.store.list(TRAINING_JOB):
        if not take(dict(record)):
            continue
        name = record["TrainingJobName"]
        with contextlib.suppress(KeyError):  # it was deleted
            account.store.note(TRAINING_JOB, name, take)  # unless another job was faster
        found: Any = account.store.find(TRAINING_JOB, name) or {}
        if found.get("WarmPoolStatus", {}).get("ReusedByJob") == request["TrainingJobName"]:
            old = account.directory / "jobs/training" / name / "hosts"
            return lambda layout: warm_pools.hand_over(old / layout.base.name, layout.base)
    return _leave


def _end(account: Account, job: JobKind, name: str, end: _End) -> None:
    """Write everything that the end changes in one step: who sees the status sees the rest."""
    described = messages.output_shape(f"Describe{job.kind.prefix}")
    facts = messages.serialize(described, messages.pick(described, end.description))
    names = {f"{job.title}StartTime", f"{job.title}EndTime", *_KEPT_MEMBERS}

    def change(record: Record) -> None:
        record.update({key: value for key, value in facts.items() if key in names})
        record.setdefault(f"{job.title}EndTime", time.time())
        record[job.kind.status_name] = end.status
        record["FailureReason"] = end.failure[:1024] or None
        if job is TRAINING:
            secondary = end.secondary if end.secondary in status.ENDS else end.status
            enter(record, secondary, end.failure or end.message)
            record["FinalMetricDataList"] = final_metrics(account, name) or None

    account.store.note(job.kind, name, change)
    account.notify()


def final_metrics(account: Account, name: str) -> list[dict[str, Any]]:
    """Return the last value of every metric of a training job."""
    return [
        {"MetricName": metric.name, "Value": metric.value, "Timestamp": metric.time_s}
        for metric in account.metrics.last(name).values()
    ]


def metric_datum(metric: Metric, dimensions: list[dict[str, str]]) -> dict[str, Any]:
    """Return a value as PutMetricData takes it."""
    return {
        "MetricName": metric.name,
        "Value": metric.value,
        "Timestamp": metric.time_s,
        "Dimensions": dimensions,
    }


def recover(account: Account) -> None:
    """Treat what the last local AWS left in flight as after an internal error (OUT-11)."""
    for job in JOB_KINDS:
        for record in account.store.list(job.kind):
            if record[job.kind.status_name] in status.UNFINISHED:
                try:
                    _recover(account, job, record)
                except Exception as error:  # noqa: BLE001 - it ends this job, not the start
                    traceback.print_exc(file=sys.stderr)
                    failure = f"InternalServerError: cannot run it again: {error}"
                    _end(account, job, record[job.kind.name_name], _End(failure=failure))


def _recover(account: Account, job: JobKind, record: Record) -> None:
    name = record[job.kind.name_name]
    request = record["_request"]
    retries = request.get("RetryStrategy", {}).get("MaximumRetryAttempts", 0)
    if record[job.kind.status_name] == "Stopping":
        _end(account, job, name, _End("Stopped"))
    elif job is TRAINING and record["_attempts"] <= retries:

        def restart(record: Record) -> None:
            record["_attempts"] += 1
            enter(record, "Restarting")

        account.metrics.forget(name)
        account.store.note(job.kind, name, restart)
        start(account, job, validate(job.create, request))
    else:
        _end(account, job, name, _End(failure=status.INTERNAL_ERROR_MESSAGE))
