"""What the commands made in an account: found by its tag, stopped, deleted."""

import datetime as dt
import functools
import re
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final

from container.errors import PlatformError
from local_test.remote.access import PREFIX, TAG, Account, list_all
from local_test.remote.refusals import explaining, has_ended, ignoring, is_missing
from local_test.remote.remote_endpoints import delete_endpoint
from local_test.remote.transfer import uploads

_END_LIMIT_S: Final = 900.0
"""How long a job or endpoint may take to end after it was asked to."""
_DELETION_BATCH: Final = 1000  # the most that DeleteObjects takes
_LOGS: Final = "/aws/sagemaker/"
_NAME: Final = re.compile("[a-zA-Z0-9-]{1,63}")
_RUNNING: Final = frozenset({"InProgress", "Stopping"})


@dataclass(frozen=True)
class ResourceKind:
    """A kind of resource, by its names in the API."""

    label: str
    """What users read."""
    member: str
    """As in `MEMBERName`, `MEMBERArn` and `MEMBERStatus`."""
    log_group: str = ""
    can_stop: bool = True
    can_delete: bool = True

    @property
    def noun(self) -> str:
        """As in boto3's `describe_NOUN`; the plural has an s."""
        return re.sub("(?<!^)(?=[A-Z])", "_", self.member).lower()


ENDPOINT: Final = ResourceKind("endpoint", "Endpoint", f"{_LOGS}Endpoints", can_stop=False)
TUNING_JOB: Final = ResourceKind("tuning job", "HyperParameterTuningJob")
KINDS: Final = (
    ENDPOINT,
    TUNING_JOB,
    ResourceKind("training job", "TrainingJob", f"{_LOGS}TrainingJobs"),
    ResourceKind("processing job", "ProcessingJob", f"{_LOGS}ProcessingJobs"),
    ResourceKind("transform job", "TransformJob", f"{_LOGS}TransformJobs", can_delete=False),
    ResourceKind("endpoint config", "EndpointConfig", can_stop=False),
    ResourceKind("model", "Model", can_stop=False),
)
"""In the order in which they can be deleted."""


@dataclass(frozen=True)
class Resource:
    """One resource that carries the tag."""

    kind: ResourceKind
    name: str
    arn: str
    status: str
    """Empty for models and endpoint configurations, which only exist."""
    created: dt.datetime
    verb: str
    """The command that made it."""

    @property
    def is_running(self) -> bool:
        """Whether it costs money by the hour."""
        return self.status in _RUNNING or self.kind is ENDPOINT


class Inventory:
    """Everything in an account that carries the tag."""

    def __init__(self, account: Account, days: int = 30) -> None:
        """Jobs that are older than `days` are not looked at."""
        self._account = account
        self._sagemaker = account.client("sagemaker")
        self._since = dt.datetime.now(dt.UTC) - dt.timedelta(days=days)

    def list_resources(self) -> list[Resource]:
        """Return all resources, in the order in which they can be deleted.

        Raises: UserError or PlatformError if the service cannot be asked.
        """
        with explaining():
            return [item for kind in KINDS for item in self._list_kind(kind)]

    def find(self, name: str) -> list[Resource]:
        """Return the resources of a name; an endpoint, its configuration and model share one."""
        return self._find(name, {name})

    def find_all(self, name: str) -> list[Resource]:
        """Return the resources of a name, and the training jobs of a tuning job of that name.

        Raises: UserError or PlatformError if the service cannot be asked.
        """
        resources = self.find(name)
        if not any(item.kind is TUNING_JOB for item in resources):
            return resources
        with explaining():
            noun = "list_training_jobs_for_hyper_parameter_tuning_job"
            trainings = list_all(self._sagemaker, noun, HyperParameterTuningJobName=name)
        return self._find(name, {name, *(str(item["TrainingJobName"]) for item in trainings)})

    def _find(self, part: str, names: Collection[str]) -> list[Resource]:
        """Return the resources with one of these names, which all contain `part`.

        The tags of each other resource would take a request.
        """
        if not _NAME.fullmatch(part):
            return []
        with explaining():
            return [
                item for kind in KINDS for item in self._list_kind(kind, names, NameContains=part)
            ]

    def _list_kind(
        self, kind: ResourceKind, names: Collection[str] = (), **limits: Any
    ) -> Iterator[Resource]:
        if kind.log_group and kind is not ENDPOINT:
            limits["CreationTimeAfter"] = self._since
        for entry in list_all(self._sagemaker, f"list_{kind.noun}s", **limits):
            name = str(entry[f"{kind.member}Name"])
            if names and name not in names:
                continue
            arn = str(entry[f"{kind.member}Arn"])
            tags = list_all(self._sagemaker, "list_tags", ResourceArn=arn)
            verbs = [str(tag["Value"]) for tag in tags if tag["Key"] == TAG]
            if verbs:
                status = str(entry.get(f"{kind.member}Status", ""))
                yield Resource(kind, name, arn, status, entry["CreationTime"], verbs[0])

    def stop(self, resource: Resource) -> None:
        """End what costs money by the hour, and wait for its end: a job, or an endpoint.

        Raises: UserError or PlatformError if the service refuses, or it does not end.
        """
        if not resource.is_running:
            return
        with explaining():
            if resource.kind.can_stop:
                self._call("stop", resource)
                self._wait(resource)
            elif resource.kind is ENDPOINT:
                delete_endpoint(self._account, resource.name)

    def delete(self, resource: Resource) -> bool:
        """Stop and delete a resource; return False if AWS keeps its record, without the tag then.

        Raises: UserError or PlatformError if the service refuses.
        """
        self.stop(resource)
        if resource.kind is ENDPOINT:
            return True  # stopped is deleted; what is gone has no tag, so a policy would refuse
        with explaining():
            if resource.kind.can_delete:
                self._call("delete", resource)
            else:
                delete_tags = functools.partial(self._sagemaker.delete_tags, TagKeys=[TAG])
                self._ignore_missing(delete_tags, ResourceArn=resource.arn)
        return resource.kind.can_delete

    def delete_log(self, resource: Resource) -> None:
        """Delete the log of a job or endpoint, if there is one."""
        if not resource.kind.log_group:
            return
        with explaining():
            if resource.kind is ENDPOINT:
                group = f"{resource.kind.log_group}/{resource.name}"
                self._ignore_missing(self._logs.delete_log_group, logGroupName=group)
                return
            group = resource.kind.log_group
            where = {"logGroupName": group, "logStreamNamePrefix": f"{resource.name}/"}
            for stream in list_all(self._logs, "describe_log_streams", **where):
                self._ignore_missing(
                    self._logs.delete_log_stream,
                    logGroupName=group,
                    logStreamName=stream["logStreamName"],
                )

    @property
    def _logs(self) -> Any:
        return self._account.client("logs")

    def _call(self, verb: str, resource: Resource) -> None:
        operation = getattr(self._sagemaker, f"{verb}_{resource.kind.noun}")
        self._ignore_missing(operation, **{f"{resource.kind.member}Name": resource.name})

    def _ignore_missing(self, operation: Callable[..., Any], **names: str) -> bool:
        """Call an operation; return whether there was what it names, or what it would end."""
        with ignoring(lambda error: is_missing(error) or has_ended(error)) as ignored:
            operation(**names)
        return not ignored

    def _wait(self, resource: Resource) -> None:
        deadline = time.monotonic() + _END_LIMIT_S
        pause_s = 0.2
        while self._is_running(resource):
            if time.monotonic() > deadline:
                raise PlatformError(
                    f"the {resource.kind.label} {resource.name} has not ended after "
                    f"{_END_LIMIT_S:.0f} s; look at it in the console of SageMaker"
                )
            time.sleep(pause_s)
            pause_s = min(5.0, pause_s * 1.5)

    def _is_running(self, resource: Resource) -> bool:
        status = ""

        def look(**names: str) -> None:
            nonlocal status
            answer = getattr(self._sagemaker, f"describe_{resource.kind.noun}")(**names)
            status = str(answer[f"{resource.kind.member}Status"])

        exists = self._ignore_missing(look, **{f"{resource.kind.member}Name": resource.name})
        return exists and status in _RUNNING


def delete_objects(account: Account, prefix: str = PREFIX) -> int:
    """Delete the objects below a prefix of the bucket, and unfinished uploads; count the objects.

    Raises: UserError if the bucket refuses one.
    """
    keys = list(uploads.list_keys(account, prefix))
    with explaining():
        for start in range(0, len(keys), _DELETION_BATCH):
            batch = [{"Key": key} for key in keys[start : start + _DELETION_BATCH]]
            answer = account.client("s3").delete_objects(
                Bucket=account.bucket,
                Delete={"Objects": batch, "Quiet": True},
                ExpectedBucketOwner=account.number,
            )
            for error in answer.get("Errors", ()):
                message = f"s3://{account.bucket}/{error['Key']} stays: {error['Message']}"
                raise PlatformError(message)
        where = {"Bucket": account.bucket, "ExpectedBucketOwner": account.number}
        s3 = account.client("s3")
        for part in list_all(s3, "list_multipart_uploads", Prefix=prefix, **where):
            s3.abort_multipart_upload(Key=part["Key"], UploadId=part["UploadId"], **where)
    return len(keys)
