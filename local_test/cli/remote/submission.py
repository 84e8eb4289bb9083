"""Send a command's request to an account, follow it, and fetch what it left."""

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, NoReturn

import typer

from container.errors import PlatformError, UserError, name_command
from local_test.cli import terminal
from local_test.cli.options import JOBS, JobRequestOptions
from local_test.cli.remote.remote_options import RemoteOptions, say_where
from local_test.data import storage
from local_test.jobs.result import JobResult, check_name
from local_test.remote import prices, remote_jobs
from local_test.remote.access import Account
from local_test.remote.creation import create
from local_test.remote.refusals import GoneError, explaining
from local_test.remote.remote_jobs import PROCESSING, TRAINING, TRANSFORM, Kind, RemoteJob
from local_test.remote.transfer import images, uploads
from local_test.remote.transfer.images import LocalImage
from local_test.remote.transfer.relocation import Relocation
from local_test.requests import validation
from local_test.requests.validation import ValidRequest

_FOLDERS: Final = {TRAINING: "training", PROCESSING: "processing", TRANSFORM: "transform"}
_RESOURCES: Final = {
    TRAINING: ("ResourceConfig",),
    PROCESSING: ("ProcessingResources", "ClusterConfig"),
    TRANSFORM: ("TransformResources",),
}
"""Where a request has its instance type and count."""


@dataclass
class Submission:
    """One run on AWS: the account, the rewritten requests, and what they need."""

    account: Account
    relocation: Relocation
    local_images: dict[str, LocalImage] = field(default_factory=dict)

    def prepare(
        self, options: RemoteOptions, kind: str, groups: Sequence[Mapping[str, Any]]
    ) -> None:
        """Show what it costs, ask, and then upload the data and push the images.

        `kind` is as in `find_price`, `groups` are the groups of instances.
        """
        say_where(self.account)
        _confirm_cost(options, self.account, kind, groups)
        if self.relocation.uploads or self.relocation.downloads:
            uploads.make_bucket(self.account, terminal.say)
        for upload in self.relocation.uploads.values():
            sent = uploads.send(self.account, upload)
            terminal.say(f"{upload.uri}: {len(sent)} of {len(upload.keys)} object(s) uploaded")
        for image in self.local_images.values():
            images.push(self.account, image, terminal.say)

    def fetch(self) -> list[Path]:
        """Download what was stored for local places; return the paths."""
        return [
            path
            for prefix, uri in self.relocation.downloads.items()
            for path in remote_jobs.download(self.account, prefix, uri)
        ]


def begin(options: RemoteOptions, verb: str, name: str, instance_type: str) -> Submission:
    """Find the account, and return a submission that rewrites requests for it."""
    account = options.connect()
    found: dict[str, LocalImage] = {}

    def name_image(image: str) -> str:
        local = images.check(image, instance_type, images.find_local)
        if local is None:
            return image
        found[image] = local
        return images.find_uri(account, local)

    relocation = Relocation(
        bucket=account.bucket,
        role=account.name_role(options.role),
        verb=verb,
        name=name,
        image=name_image,
    )
    return Submission(account, relocation, found)


def run_job(
    kind: Kind,
    fields: Mapping[str, Any],
    options: RemoteOptions,
    request: JobRequestOptions,
    model: Mapping[str, Any] | None = None,
) -> int:
    """Run one job on AWS as the local command does; return the exit code.

    `model` is the CreateModel request that a transform job needs.
    """
    validation.check(kind.operation, fields)
    resources: Mapping[str, Any] = fields
    for member in _RESOURCES[kind]:
        resources = resources.get(member, {})
    groups = resources.get("InstanceGroups") or [resources]
    instance_type = str(groups[0].get("InstanceType", ""))
    submission = begin(options, _FOLDERS[kind], fields[kind.name], instance_type)
    made = submission.relocation.rewrite(kind.operation, fields)
    if request.print_request:
        print(json.dumps(made, indent=2))
        return 0
    made_model = None
    if model is not None:
        made_model = submission.relocation.rewrite("CreateModel", model)
    directory = JOBS / _FOLDERS[kind] / fields[kind.name]
    check_name(directory)
    submission.prepare(options, kind.stem, groups)
    listeners = terminal.make_listeners(ValidRequest(kind.operation, fields, ()))
    with terminal.live_metrics() as on_metric, interruptible():
        listeners = replace(listeners, on_metric=on_metric)
        job = RemoteJob(submission.account, kind, made, directory, listeners)
        started = f"{kind.operation}: {job.name} on {instance_type}"
        result = run(submission, job, started, options, made_model)
    if result is None:
        return 0
    submission.fetch()
    return terminal.report(result, _find_artifact(submission, result), as_json=request.as_json)


def run(
    submission: Submission,
    job: RemoteJob,
    started: str,
    options: RemoteOptions,
    model: Mapping[str, Any] | None = None,
) -> JobResult | None:
    """Start a job and follow it; with --detach, return None once it is `started`.

    `model` is the CreateModel request of the model that it needs.
    """
    _start(submission.account, job, model)
    if options.detach:
        terminal.say(f"{started}; `{name_command('aws stop')} {job.name}` stops it")
        print(job.name)
        return None
    return _follow(job, started)


def _start(account: Account, job: RemoteJob, model: Mapping[str, Any] | None) -> None:
    """Start a job, with the model that it needs; without the job, the model does not stay."""
    if model is None:
        job.start()
        return
    sagemaker = account.client("sagemaker")
    name = str(model["ModelName"])

    def undo() -> None:
        sagemaker.delete_model(ModelName=name)

    create(
        name,
        lambda: sagemaker.create_model(**model),
        lambda: dict(sagemaker.describe_model(ModelName=name)),
        undo,
    )
    try:
        job.start()
    except BaseException:
        try:
            with explaining():
                undo()
        except (UserError, PlatformError) as error:
            terminal.complain(
                f"{error}; the model {name} stays: `{name_command('aws delete')} {name}`"
            )
        raise


def _find_artifact(submission: Submission, result: JobResult) -> str:
    """Return where the result is: on this disk, or the URI that the request names."""
    places = [storage.to_path(uri) for uri in submission.relocation.downloads.values()]
    model = result.directory / "output" / "model.tar.gz"
    if model.is_file():
        return str(model)
    if places:
        return ", ".join(str(place) for place in places)
    description = result.description
    artifact = description.get("ModelArtifacts", {}).get("S3ModelArtifacts")
    outputs: Sequence[Mapping[str, Any]] = description.get("ProcessingOutputConfig", {}).get(
        "Outputs", ()
    )
    uris = [str(item["S3Output"]["S3Uri"]) for item in outputs if "S3Output" in item]
    transformed = description.get("TransformOutput", {}).get("S3OutputPath", "")
    return artifact or ", ".join(uris) or str(transformed)


def _confirm_cost(
    options: RemoteOptions, account: Account, kind: str, resources: Sequence[Mapping[str, Any]]
) -> None:
    """Say what an hour of each group of instances costs, and ask."""
    for group in resources:
        if "InstanceType" not in group:
            terminal.say("the price is unknown: the request names no instance type")
            continue
        instance_type = str(group["InstanceType"])
        count = int(group.get("InstanceCount") or group.get("InitialInstanceCount") or 1)
        price = prices.find_price(account, instance_type, kind)
        terminal.say(prices.describe(price, instance_type, count))
    options.confirm("Start it?")


def _follow(job: RemoteJob, started: str) -> JobResult:
    """Say that a job has `started` and follow it; Ctrl-C asks whether to stop it.

    Raises: UserError or PlatformError that says what became of the job. Whatever else is raised,
        such as for a full disk or a closed terminal, the job is stopped, too.
    """
    try:
        terminal.say(started)
        return job.follow()
    except KeyboardInterrupt:
        if wants_to_leave(job.name):
            terminal.say(f"{job.name} goes on; `{name_command('aws stop')} {job.name}` stops it")
            raise typer.Exit(130) from None
    except (UserError, PlatformError) as error:
        _give_up(job, error)
    except Exception:
        job.stop()
        raise
    try:
        terminal.say(f"stopping {job.name}")
        job.stop()
        return job.follow()
    except (UserError, PlatformError) as error:
        _give_up(job, error)
    except KeyboardInterrupt:
        terminal.complain(doubt(job.name, "stop"))
        raise


def doubt(name: str, verb: str) -> str:
    """Say that a job or endpoint may be left, and how to end it: `stop` or `delete`."""
    return f"{name} may still run: `{name_command(f'aws {verb} {name}')}` {verb}s it"


def wants_to_leave(name: str) -> bool:
    """Ask whether a job or endpoint is to go on; where nobody can be asked, it is not."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    try:
        return not typer.confirm(f"Stop {name}? (no: it runs on and costs)", default=True, err=True)
    except (typer.Abort, KeyboardInterrupt):
        return False


def _give_up(job: RemoteJob, error: UserError | PlatformError) -> NoReturn:
    """Stop a job that cannot be followed any more, and raise with what became of it."""
    if isinstance(error, GoneError):
        raise error
    try:
        job.stop()
    except (UserError, PlatformError):
        end = doubt(job.name, "stop")
    else:
        end = f"{job.name} is being stopped"
    raise type(error)(f"{error}; {end}") from error


def interruptible() -> AbstractContextManager[None]:
    """Let SIGTERM end the block as Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    return terminal.handling(interrupt)
