"""The command that tunes hyperparameters in an account: tune."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from container.errors import UserError, name_command
from local_test.cli import request_files, terminal
from local_test.cli.job_commands import TrainingFields
from local_test.cli.options import (
    JOBS,
    ContainerOptions,
    DataOptions,
    JobRequestOptions,
    flag,
    option,
    parse_pairs,
    with_groups,
)
from local_test.cli.remote import tuning_shorthand
from local_test.cli.remote.remote_options import RemoteOptions
from local_test.cli.remote.submission import Submission, begin, interruptible, run
from local_test.data import storage
from local_test.jobs.result import JobResult, Listeners, check_name
from local_test.remote import remote_jobs
from local_test.remote.remote_tuning import TUNING, RemoteTuningJob
from local_test.requests import shorthand, validation

_JOBS: Final = 10


@dataclass(frozen=True)
class TuningOptions(TrainingFields):
    """Fields of CreateHyperParameterTuningJob."""

    maximize: str | None = option(None, "Metric whose largest value is the best.")
    minimize: str | None = option(None, "Metric whose smallest value is the best.")
    ranges: list[str] | None = option(
        None,
        "Range of a hyperparameter, as NAME=LOW:HIGH, NAME=LOW:HIGH:SCALE with the scale linear, "
        "log, reverse-log or auto, or NAME=VALUE,VALUE; can be repeated.",
        ("--range",),
    )
    strategy: str = option("Bayesian", f"Strategy: {', '.join(tuning_shorthand.STRATEGIES)}.")
    jobs: int | None = option(
        None, f"MaxNumberOfTrainingJobs; by default {_JOBS}, and all points of a Grid."
    )
    parallel: int = option(2, "MaxParallelTrainingJobs.")
    early_stopping: bool = flag("Stop training jobs that cannot win.", "--early-stopping")
    output: str | None = option(
        None, "Path or URI; models become TRAINING-JOB/output/model.tar.gz below it."
    )

    def make_request(self, container: ContainerOptions, data: DataOptions) -> dict[str, Any]:
        """Return the CreateHyperParameterTuningJob request.

        Raises: UserError if the objective or the ranges are missing, or are wrong.
        """
        objectives = [
            (kind, metric)
            for kind, metric in (("Maximize", self.maximize), ("Minimize", self.minimize))
            if metric
        ]
        if len(objectives) != 1:
            raise UserError("name the objective: --maximize METRIC or --minimize METRIC")
        if not self.ranges:
            raise UserError("name what is tuned: --range NAME=LOW:HIGH or --range NAME=VALUE,VALUE")
        limits = {"MaxParallelTrainingJobs": self.parallel}
        if self.jobs or self.strategy != "Grid":
            limits["MaxNumberOfTrainingJobs"] = self.jobs or _JOBS
        config = tuning_shorthand.make_config(
            objectives[0],
            tuning_shorthand.parse_ranges(parse_pairs("--range", self.ranges)),
            self.strategy,
            limits,
            stops_early=self.early_stopping,
        )
        name = self.name or shorthand.make_name("tuning")
        output = self.output or str(JOBS / "tuning" / name)
        training = self.fill_request(container, data, name, output)
        return tuning_shorthand.tuning_request(training, config)


@with_groups
def tune(
    data: DataOptions,
    container: ContainerOptions,
    options: TuningOptions,
    request: JobRequestOptions,
    remote: RemoteOptions,
) -> int:
    """Tune hyperparameters on AWS: many training jobs, of which the best one's model is kept."""
    fields = request_files.load(request.request) or options.make_request(container, data)
    validation.check(TUNING.operation, fields)
    if not remote.is_wanted:
        if request.print_request:
            print(json.dumps(fields, indent=2))
            return 0
        raise UserError(
            f"tuning jobs run on AWS; add --on aws. With `{name_command('up')}`, the local AWS "
            "takes its place: docs/aws.md says how"
        )
    remote.refuse(container, {})
    groups = list_instances(fields)
    name = fields[TUNING.name]
    submission = begin(remote, "tuning", name, str(groups[0].get("InstanceType", "")))
    made = submission.relocation.rewrite(TUNING.operation, fields)
    if request.print_request:
        print(json.dumps(made, indent=2))
        return 0
    directory = JOBS / "tuning" / name
    check_name(directory)
    submission.prepare(remote, "Training", groups)
    listeners = Listeners(on_line=terminal.show_line, on_status=_show_status)
    with interruptible():
        job = RemoteTuningJob(submission.account, made, directory, listeners)
        result = run(submission, job, f"{TUNING.operation}: {name}", remote)
    if result is None:
        return 0
    best = (result.description.get("BestTrainingJob") or {}).get("TrainingJobName", "")
    artifact = _fetch(submission, job, best) if best else ""
    return _report(result, fields, artifact, as_json=request.as_json)


def list_instances(fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the groups of instances that run at once at most: of the definition that is first.

    Several definitions, or a choice of instance types, share the limit of parallel jobs.
    """
    definitions: Sequence[Mapping[str, Any]] = fields.get("TrainingJobDefinitions") or [
        fields.get("TrainingJobDefinition", {})
    ]
    definition = definitions[0]
    resources = (
        definition.get("ResourceConfig")
        or definition.get("HyperParameterTuningResourceConfig")
        or {}
    )
    choices = (resources.get("InstanceConfigs") or [])[:1]
    groups = resources.get("InstanceGroups") or choices or [resources]
    limits = fields["HyperParameterTuningJobConfig"]["ResourceLimits"]
    parallel = limits["MaxParallelTrainingJobs"]
    return [
        {**group, "InstanceCount": parallel * int(group.get("InstanceCount", 1))}
        for group in groups
    ]


def _show_status(status: str, message: str) -> None:
    terminal.mark("bold", status, terminal.first_line(terminal.shorten_reason(message)))


def _fetch(submission: Submission, job: RemoteTuningJob, best: str) -> str:
    """Download what the best training job left, if its place is local; return the artifact's."""
    artifact = str(job.describe_training(best)["ModelArtifacts"]["S3ModelArtifacts"])
    account = submission.account
    for prefix, uri in submission.relocation.downloads.items():
        here = f"s3://{account.bucket}/{prefix}{best}/"
        if artifact.startswith(here):
            place = f"{uri.rstrip('/')}/{best}"
            remote_jobs.download(account, f"{prefix}{best}/", place)
            return str(storage.to_path(place) / artifact.removeprefix(here))
    return artifact


def _report(result: JobResult, fields: Mapping[str, Any], artifact: str, *, as_json: bool) -> int:
    """Print the result and the best training job; return the exit code."""
    code = terminal.report(result, artifact, as_json=as_json)
    if not artifact:
        if not code:
            terminal.complain("no training job has a value of the objective metric")
        return code or 1
    best = result.description["BestTrainingJob"]
    objective = best["FinalHyperParameterTuningJobObjectiveMetric"]
    tuned = ", ".join(f"{key}={value}" for key, value in best["TunedHyperParameters"].items())
    terminal.say(
        f"best: {best['TrainingJobName']}, {objective['MetricName']}={objective['Value']:.6g} "
        f"with {tuned}"
    )
    image = fields.get("TrainingJobDefinition", {}).get("AlgorithmSpecification", {})
    if name := image.get("TrainingImage"):
        model = shlex.quote(artifact)
        terminal.say(f"next: {name_command('serve')} --image {shlex.quote(name)} --model {model}")
    return code
