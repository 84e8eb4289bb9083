"""The commands that run one job: train, evaluate, transform."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any

import typer

from container.errors import UserError
from local_test.cli import request_files, terminal
from local_test.cli.options import (
    JOBS,
    ContainerOptions,
    DataOptions,
    InstanceCount,
    Isolated,
    JobRequestOptions,
    Metrics,
    Name,
    with_groups,
)
from local_test.jobs.processing import ProcessingJob
from local_test.jobs.training import TrainingJob
from local_test.jobs.transform import TransformJob
from local_test.requests import shorthand
from local_test.requests.validation import validate
from local_test.runners import faults
from local_test.runners.process import ProcessRunner


@dataclass(frozen=True)
class TrainingOptions:
    """Fields of CreateTrainingJob, and faults."""

    name: Name = None
    output: Annotated[
        str, typer.Option(help="Path or URI; the model becomes NAME/output/model.tar.gz below it.")
    ] = str(JOBS / "training")
    input_mode: Annotated[str, typer.Option(help="File, FastFile or Pipe.")] = "File"
    instance_type: Annotated[str, typer.Option(help="ResourceConfig.InstanceType.")] = "ml.m5.large"
    instance_count: InstanceCount = 1
    max_runtime_s: Annotated[int, typer.Option(help="StoppingCondition.MaxRuntimeInSeconds.")] = (
        86400
    )
    spot: Annotated[bool, typer.Option("--spot", help="EnableManagedSpotTraining.")] = False
    fault: Annotated[
        list[str] | None,
        typer.Option(
            help="KIND@SECONDSs or KIND@/REGEX/, such as spot@/epoch=3;/. Kinds: "
            f"{', '.join(faults.JOB_KINDS)}."
        ),
    ] = None
    encoding: Annotated[
        str,
        typer.Option(
            help="Write hyperparameters as this sender does: "
            f"{', '.join(shorthand.ENCODINGS)} (HP-2, HP-3, HP-6)."
        ),
    ] = "api"
    metric: Metrics = None
    checkpoints: Annotated[str | None, typer.Option(help="Path or URI of CheckpointConfig.")] = None
    isolated: Isolated = False

    def make_request(self, container: ContainerOptions, data: DataOptions) -> dict[str, Any]:
        """Return the CreateTrainingJob request."""
        return shorthand.training_request(
            name=self.name or shorthand.make_name("training"),
            image=container.image_name,
            channels=data.channels,
            output=self.output,
            hyperparameters=shorthand.encode_hyperparameters(data.hyperparameters, self.encoding),
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


@with_groups
def train(
    data: DataOptions,
    container: ContainerOptions,
    options: TrainingOptions,
    request: JobRequestOptions,
) -> int:
    """Run a training job and show its log."""
    fields = request_files.load(request.request)
    valid = validate("CreateTrainingJob", fields or options.make_request(container, data))
    if request.print_request:
        return request_files.show(valid)
    happenings = [faults.parse(text) for text in options.fault or ()]
    runner = container.make_runner()
    directory = JOBS / "training" / valid.fields["TrainingJobName"]
    with terminal.live_metrics() as on_metric:
        listeners = replace(terminal.make_listeners(valid), on_metric=on_metric)
        job = TrainingJob(valid, runner, directory, listeners, faults=happenings)
        is_isolated = valid.fields.get("EnableNetworkIsolation")
        if len(job.hosts) > 1 and isinstance(runner, ProcessRunner) and not is_isolated:
            terminal.note("hosts share this machine's ports; --isolated gives each its own (DS-1)")
        result = terminal.run_job(job, valid, runner)
    artifact = result.description["ModelArtifacts"]["S3ModelArtifacts"]
    return terminal.report(result, artifact, as_json=request.as_json)


@dataclass(frozen=True)
class EvaluationOptions:
    """Fields of CreateProcessingJob."""

    model: Annotated[str, typer.Option(help="model.tar.gz, or a directory: the input `model`.")] = (
        ""
    )
    test: Annotated[str, typer.Option(help="Test set, file or directory: the input `test`.")] = ""
    output: Annotated[str | None, typer.Option(help="Path or URI for the output `evaluation`.")] = (
        None
    )
    argument: Annotated[
        list[str] | None, typer.Option(help="One of ContainerArguments; can be repeated.")
    ] = None
    entrypoint: Annotated[
        list[str] | None, typer.Option(help="One of ContainerEntrypoint; can be repeated.")
    ] = None
    name: Name = None

    def make_request(self, container: ContainerOptions) -> dict[str, Any]:
        """Return the CreateProcessingJob request.

        Raises: UserError if the model or the test set is missing.
        """
        given = {"--model": self.model, "--test": self.test}
        missing = [flag for flag, value in given.items() if not value]
        if missing:
            message = f"{' and '.join(missing)} must be given, or a request with --request"
            raise UserError(message)
        name = self.name or shorthand.make_name("evaluation")
        output = self.output or str(JOBS / "processing" / name / "evaluation")
        return shorthand.processing_request(
            name=name,
            image=container.image_name,
            inputs={"model": self.model, "test": self.test},
            outputs={"evaluation": output},
            environment=container.environment,
            entrypoint=self.entrypoint or (),
            arguments=self.argument or (),
        )


@with_groups
def evaluate(
    options: EvaluationOptions, container: ContainerOptions, request: JobRequestOptions
) -> int:
    """Evaluate a model in a processing job: inputs `model` and `test`, output `evaluation`."""
    fields = request_files.load(request.request)
    valid = validate("CreateProcessingJob", fields or options.make_request(container))
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

    model: Annotated[str | None, typer.Option(help="model.tar.gz, or a directory.")] = None
    output: Annotated[
        str | None, typer.Option(help="Path or URI; INPUT.out is stored below it for each input.")
    ] = None
    content_type: Annotated[str, typer.Option(help="TransformInput.ContentType.")] = "text/csv"
    accept: Annotated[str | None, typer.Option(help="TransformOutput.Accept.")] = None
    split_type: Annotated[str, typer.Option(help="None, Line, RecordIO or TFRecord.")] = "Line"
    assemble_with: Annotated[str, typer.Option(help="None or Line.")] = "Line"
    strategy: Annotated[
        str | None,
        typer.Option(help="MultiRecord or SingleRecord; by default the container decides."),
    ] = None
    concurrency: Annotated[
        int | None,
        typer.Option(help="MaxConcurrentTransforms; by default the container decides."),
    ] = None
    payload_megabytes: Annotated[
        int | None, typer.Option(help="MaxPayloadInMB; 0 sends each object in chunks.")
    ] = None
    compression: Annotated[str, typer.Option(help="None or Gzip.")] = "None"
    input_filter: Annotated[
        str | None, typer.Option(help="JSONPath of the part of each record that is sent.")
    ] = None
    output_filter: Annotated[
        str | None, typer.Option(help="JSONPath of the part of each answer that is stored.")
    ] = None
    join: Annotated[
        bool, typer.Option("--join", help="JoinSource Input: store each record with its answer.")
    ] = False
    name: Name = None
    instance_count: InstanceCount = 1

    def make_request(self, data: str) -> dict[str, Any]:
        """Return the CreateTransformJob request.

        Raises: UserError if there is no input.
        """
        if not data:
            message = "the input is missing; name a file, a directory or a URI prefix"
            raise UserError(message)
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
            instance_count=self.instance_count,
        )


@with_groups
def transform(
    options: TransformOptions,
    container: ContainerOptions,
    request: JobRequestOptions,
    data: Annotated[
        str, typer.Argument(help="File, directory or URI prefix of the input objects.")
    ] = "",
) -> int:
    """Run a batch transform job.

    With --request, the file describes the job; --model and --env still describe the model.
    """
    fields = request_files.load(request.request)
    valid = validate("CreateTransformJob", fields or options.make_request(data))
    if request.print_request:
        return request_files.show(valid)
    [made] = shorthand.endpoint_requests(
        name=valid.fields["ModelName"],
        image=container.image_name,
        model=options.model,
        environment=container.environment,
    ).models.values()
    model = validate("CreateModel", made)
    runner = container.make_runner()
    directory = JOBS / "transform" / valid.fields["TransformJobName"]
    job = TransformJob(valid, model, runner, directory, terminal.make_listeners(valid))
    result = terminal.run_job(job, valid, runner)
    artifact = valid.fields["TransformOutput"]["S3OutputPath"]
    return terminal.report(result, artifact, as_json=request.as_json)
