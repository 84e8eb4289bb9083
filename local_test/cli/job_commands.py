"""The commands that run one job: train, evaluate, transform."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

import typer

from container.errors import UserError
from local_test.cli import request_files, terminal
from local_test.cli.debugging import DebugOptions
from local_test.cli.options import (
    JOBS,
    ContainerOptions,
    DataOptions,
    JobRequestOptions,
    flag,
    isolated_option,
    metric_option,
    name_option,
    option,
    with_groups,
)
from local_test.cli.remote import submission
from local_test.cli.remote.remote_options import RemoteOptions
from local_test.cli.runs import next_steps
from local_test.cli.runs.pace import Pace
from local_test.cli.samples import project
from local_test.jobs.processing import ProcessingJob
from local_test.jobs.training import TrainingJob
from local_test.jobs.transform import TransformJob
from local_test.remote import remote_jobs
from local_test.requests import hyperparameter_encodings, shorthand
from local_test.requests.validation import validate
from local_test.runners import faults
from local_test.runners.process import ProcessRunner


@dataclass(frozen=True)
class TrainingFields:
    """Fields of CreateTrainingJob."""

    name: str | None = name_option()
    input_mode: str = option("File", "How data arrives: File, FastFile or Pipe.")
    instance_type: str = option("ml.m5.large", "Instance type (ResourceConfig.InstanceType).")
    instance_count: int = option(1, "Number of hosts.")
    max_runtime_s: int = option(86400, "Seconds after which the job is stopped.")
    spot: bool = flag("Use managed spot training.", "--spot")
    encoding: str = option(
        "api",
        "Encode hyperparameters as this client does: "
        f"{', '.join(hyperparameter_encodings.ENCODINGS)} (HP-2, HP-3, HP-6).",
    )
    metric: list[str] | None = metric_option()
    checkpoints: str | None = option(None, "Path or URI where checkpoints are stored.")
    isolated: bool = isolated_option()

    def fill_request(
        self, container: ContainerOptions, data: DataOptions, name: str, output: str
    ) -> dict[str, Any]:
        """Return the CreateTrainingJob request; `name` and `output` are those it gets.

        What `data` leaves out comes from the project in the current folder.
        """
        data, _ = project.complete(data, container)
        return shorthand.training_request(
            name=name,
            image=container.image_name,
            channels=data.channels,
            output=output,
            hyperparameters=hyperparameter_encodings.encode_hyperparameters(
                data.hyperparameters, self.encoding
            ),
            environment=container.environment,
            metric_definitions=container.define_metrics(self.metric),
            input_mode=self.input_mode,
            instance_type=self.instance_type,
            instance_count=self.instance_count,
            max_runtime_s=self.max_runtime_s,
            checkpoints=self.checkpoints,
            is_isolated=self.isolated,
            is_spot=self.spot,
        )


@dataclass(frozen=True)
class TrainingOptions(TrainingFields):
    """Fields of CreateTrainingJob, and faults."""

    output: str = option(
        str(JOBS / "training"),
        "Path or URI below which the model becomes NAME/output/model.tar.gz.",
    )
    fault: list[str] | None = option(
        None,
        "Fault to inject, as KIND@SECONDSs or KIND@/REGEX/, such as spot@/epoch=3;/. Kinds: "
        f"{', '.join(faults.JOB_KINDS)}.",
    )

    def make_request(self, container: ContainerOptions, data: DataOptions) -> dict[str, Any]:
        """Return the CreateTrainingJob request."""
        name = self.name or shorthand.make_name("training")
        return self.fill_request(container, data, name, self.output)


@with_groups
def train(
    data: DataOptions,
    container: ContainerOptions,
    options: TrainingOptions,
    debug: DebugOptions,
    request: JobRequestOptions,
    remote: RemoteOptions,
) -> int:
    """Run a training job and show its log."""
    fields = request_files.load(request.request) or options.make_request(container, data)
    if remote.is_wanted:
        remote.refuse(container, {"--fault": options.fault, "--debug": debug.debug is not None})
        return submission.run_job(remote_jobs.TRAINING, fields, remote, request)
    valid = validate("CreateTrainingJob", fields)
    if request.print_request:
        return request_files.show(valid)
    happenings = [faults.parse(text) for text in options.fault or ()]
    runner = debug.make_runner(container)
    directory = JOBS / "training" / valid.fields["TrainingJobName"]
    pace = Pace()
    with terminal.live_metrics(pace.describe) as on_metric:
        shown = terminal.make_listeners(valid)

        def on_line(host: str, line: str) -> None:
            pace.hear(line)
            shown.on_line(host, line)

        listeners = replace(shown, on_line=on_line, on_metric=on_metric)
        job = TrainingJob(valid, runner, directory, listeners, faults=happenings)
        is_isolated = bool(valid.fields.get("EnableNetworkIsolation"))
        debug.check_hosts(len(job.hosts), is_isolated=is_isolated)
        if len(job.hosts) > 1 and isinstance(runner, ProcessRunner) and not is_isolated:
            terminal.note("hosts share this machine's ports; --isolated gives each its own (DS-1)")
        result = terminal.run_job(job, valid, runner)
    artifact = result.description["ModelArtifacts"]["S3ModelArtifacts"]
    return terminal.report(result, artifact, as_json=request.as_json)


@dataclass(frozen=True)
class EvaluationOptions:
    """Fields of CreateProcessingJob."""

    model: str = option("", "Model: model.tar.gz, a directory, or a training job's name.")
    test: str = option("", "Test set: a file or a directory.")
    output: str | None = option(None, "Path or URI for the report.")
    argument: list[str] | None = option(None, "Argument of the container; can be repeated.")
    entrypoint: list[str] | None = option(
        None, "One word of the container's entry point; can be repeated."
    )
    name: str | None = name_option()
    instance_type: str = option("ml.m5.large", "Instance type (ClusterConfig.InstanceType).")

    def make_request(self, container: ContainerOptions) -> dict[str, Any]:
        """Return the CreateProcessingJob request.

        Raises: UserError if the model or the test set is missing.
        """
        given = {"--model": self.model, "--test": self.test}
        missing = [flag for flag, value in given.items() if not value]
        if missing:
            raise UserError(f"{' and '.join(missing)} must be given, or a request with --request")
        name = self.name or shorthand.make_name("evaluation")
        output = self.output or str(JOBS / "processing" / name / "evaluation")
        return shorthand.processing_request(
            name=name,
            image=container.image_name,
            inputs={"model": str(next_steps.resolve_model(self.model)), "test": self.test},
            outputs={"evaluation": output},
            environment=container.environment,
            entrypoint=self.entrypoint or (),
            arguments=self.argument or (),
            instance_type=self.instance_type,
        )


@with_groups
def evaluate(
    options: EvaluationOptions,
    container: ContainerOptions,
    request: JobRequestOptions,
    remote: RemoteOptions,
) -> int:
    """Evaluate a model on a test set in a processing job, and write a report."""
    fields = request_files.load(request.request) or options.make_request(container)
    if remote.is_wanted:
        remote.refuse(container, {})
        return submission.run_job(remote_jobs.PROCESSING, fields, remote, request)
    valid = validate("CreateProcessingJob", fields)
    if request.print_request:
        return request_files.show(valid)
    runner = container.make_runner()
    directory = JOBS / "processing" / valid.fields["ProcessingJobName"]
    job = ProcessingJob(valid, runner, directory, terminal.make_listeners(valid))
    result = terminal.run_job(job, valid, runner)
    outputs = valid.fields.get("ProcessingOutputConfig", {}).get("Outputs", ())
    artifact = ", ".join(item["S3Output"]["S3Uri"] for item in outputs if "S3Output" in item)
    return terminal.report(result, artifact, as_json=request.as_json)


@dataclass(frozen=True)
class TransformOptions:
    """Fields of CreateTransformJob, and the model."""

    model: str | None = option(None, "Model: model.tar.gz, a directory, or a training job's name.")
    output: str | None = option(None, "Path or URI; the answers to FILE go to FILE.out below it.")
    content_type: str = option("text/csv", "Content-Type header of each request.")
    accept: str | None = option(None, "Accept header of each request.")
    split_type: str = option(
        "Line", "How files are cut into records: None, Line, RecordIO or TFRecord."
    )
    assemble_with: str = option("Line", "How answers are joined: None or Line.")
    strategy: str | None = option(
        None, "MultiRecord or SingleRecord; by default the container decides."
    )
    concurrency: int | None = option(
        None, "MaxConcurrentTransforms; by default the container decides."
    )
    payload_megabytes: int | None = option(None, "Largest request in MB; 0 sends files in chunks.")
    compression: str = option("None", "Compression of the files: None or Gzip.")
    input_filter: str | None = option(None, "JSONPath of the part of each record that is sent.")
    output_filter: str | None = option(None, "JSONPath of the part of each answer that is stored.")
    join: bool = flag("Store each record with its answer (JoinSource).", "--join")
    name: str | None = name_option()
    instance_type: str = option("ml.m5.large", "Instance type (TransformResources.InstanceType).")
    instance_count: int = option(1, "Number of instances.")

    def make_request(self, data: str) -> dict[str, Any]:
        """Return the CreateTransformJob request. Raises: UserError if no input is given."""
        if not data:
            raise UserError("the input is missing; name a file, a directory or a URI prefix")
        name = self.name or shorthand.make_name("transform")
        return shorthand.transform_request(
            name=name,
            model_name=name,
            data=data,
            output=self.output or str(JOBS / "transform" / name / "output"),
            content_type=self.content_type,
            accept=self.accept,
            split_type=self.split_type,
            assemble_with=self.assemble_with,
            strategy=self.strategy,
            concurrency=self.concurrency,
            payload_megabytes=self.payload_megabytes,
            compression=self.compression,
            input_filter=self.input_filter,
            output_filter=self.output_filter,
            is_joined=self.join,
            instance_type=self.instance_type,
            instance_count=self.instance_count,
        )

    def make_model(self, fields: Mapping[str, Any], container: ContainerOptions) -> dict[str, Any]:
        """Return the CreateModel request of a transform job's model."""
        requests = shorthand.endpoint_requests(
            name=fields["ModelName"],
            image=container.image_name,
            model=next_steps.resolve_model(self.model),
            environment=container.environment,
        )
        [made] = requests.models.values()
        return made


@with_groups
def transform(
    options: TransformOptions,
    container: ContainerOptions,
    request: JobRequestOptions,
    remote: RemoteOptions,
    data: Annotated[str, typer.Argument(help="Input: a file, a directory or a URI prefix.")] = "",
) -> int:
    """Run a batch transform job.

    With --request, the file describes the job; --model and --env still describe the model.
    """
    fields = request_files.load(request.request) or options.make_request(data)
    if remote.is_wanted:
        remote.refuse(container, {})
        model_request = options.make_model(fields, container)
        return submission.run_job(remote_jobs.TRANSFORM, fields, remote, request, model_request)
    valid = validate("CreateTransformJob", fields)
    if request.print_request:
        return request_files.show(valid)
    model = validate("CreateModel", options.make_model(valid.fields, container))
    runner = container.make_runner()
    directory = JOBS / "transform" / valid.fields["TransformJobName"]
    job = TransformJob(valid, model, runner, directory, terminal.make_listeners(valid))
    both = replace(valid, fields={**model.fields, **valid.fields}, notes=valid.notes + model.notes)
    result = terminal.run_job(job, both, runner)
    artifact = valid.fields["TransformOutput"]["S3OutputPath"]
    return terminal.report(result, artifact, as_json=request.as_json)
