"""The command line: flags become requests (`shorthand`), requests become jobs and endpoints.

Results go to standard output, talk and logs of the platform's own to standard error. Exit codes: 0
done, 1 the job, server or prediction failed, 2 the command or request is wrong, 130 stopped by
Ctrl-C.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shlex
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Protocol

import typer
from rich.console import Console
from rich.table import Table

from container import contract
from container.errors import PlatformError, UserError
from local_test.conformance.catalog import Verdict
from local_test.endpoints.endpoint import Endpoint
from local_test.endpoints.invocation_server import InvocationServer
from local_test.jobs.processing import ProcessingJob
from local_test.jobs.result import JobResult, Listeners, Metric
from local_test.jobs.training import TrainingJob
from local_test.jobs.transform import TransformJob
from local_test.requests import shorthand, treatments, validation
from local_test.requests.endpoint_requests import EndpointRequests
from local_test.requests.validation import ValidRequest
from local_test.runners import faults
from local_test.runners.interface import Runner
from local_test.runners.process import ProcessRunner
from local_test.runners.procfs import name_process

JOBS = Path(os.environ.get("LOCAL_TEST_JOBS") or Path(__file__).resolve().parents[2] / "jobs")
"""Where jobs and endpoints have their directories, unless a flag says else."""
OWN_PROGRAM = "python -m container"
_BARS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
_COURSE_POINTS = 40
CHECKOUT = Path(__file__).resolve().parents[2]

app = typer.Typer(
    help="SageMaker on this machine: trains, evaluates and serves any image or program as the platform does.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
talk = Console(stderr=True, highlight=False)

Image = Annotated[
    str | None,
    typer.Option("--image", help="Run this image in the Docker engine.", show_default=False),
]
Program = Annotated[
    str,
    typer.Option(
        "--program", help="Run this command line as a process, the platform's arguments appended."
    ),
]
Prefix = Annotated[
    bool, typer.Option("--base-dir", help="Never make a private /opt/ml; set SAGEMAKER_BASE_DIR.")
]
Request = Annotated[
    Path | None,
    typer.Option(
        "--request", help="The whole request as JSON or YAML, instead of flags.", show_default=False
    ),
]
PrintRequest = Annotated[
    bool, typer.Option("--print-request", help="Print the request as JSON and do nothing.")
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON, in the shape of Describe...")
]
Environment = Annotated[
    list[str] | None, typer.Option("--env", "-e", help="NAME=VALUE for the container.")
]
Name = Annotated[
    str | None,
    typer.Option("--name", help="Name of the job or endpoint; made from the time otherwise."),
]
Memory = Annotated[
    str | None, typer.Option(help="Memory limit of a container: 512m, 2g.", show_default=False)
]
Gpus = Annotated[bool, typer.Option("--gpus", help="Give the image all of this machine's GPUs.")]
Metrics = Annotated[
    list[str] | None,
    typer.Option("--metric", help="NAME=REGEX of MetricDefinitions, instead of our program's own."),
]
Encoding = Annotated[
    str,
    typer.Option(
        help=f"Who writes the hyperparameters: {', '.join(shorthand.ENCODINGS)} (HP-2, HP-3, HP-6)."
    ),
]
Isolated = Annotated[
    bool,
    typer.Option(
        "--isolated",
        help="EnableNetworkIsolation: no way out; hosts that are processes get ports of their own, too.",
    ),
]


class _Stoppable(Protocol):
    def stop(self) -> object: ...


def main() -> int:
    """Run the command line; give the exit code."""
    try:
        code = app(standalone_mode=False)
    except (UserError, PlatformError) as error:
        talk.print(f"[bold red]error:[/] {_escape(str(error))}", soft_wrap=True)
        return 2
    except typer.Exit as exit_:
        return exit_.exit_code
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except Exception as error:
        if hasattr(error, "format_message"):  # the command-line library's own usage errors
            talk.print(
                f"[bold red]error:[/] {_escape(error.format_message())}; --help shows what is possible"
            )
            return 2
        raise
    return code if isinstance(code, int) else 0


@app.command()
def train(
    channel: Annotated[
        list[str] | None,
        typer.Option("--channel", "-c", help="NAME=PATH or NAME=URI of a channel's data."),
    ] = None,
    hyperparameter: Annotated[
        list[str] | None,
        typer.Option("--hyperparameter", "-p", help="NAME=VALUE; values are strings (HP-1)."),
    ] = None,
    image: Image = None,
    program: Program = OWN_PROGRAM,
    base_dir: Prefix = False,
    memory: Memory = None,
    gpus: Gpus = False,
    name: Name = None,
    output: Annotated[
        str, typer.Option(help="Path or URI below which NAME/output/model.tar.gz will lie.")
    ] = str(JOBS / "training"),
    env: Environment = None,
    input_mode: Annotated[str, typer.Option(help="File, FastFile or Pipe.")] = "File",
    instance_type: str = "ml.m5.large",
    instance_count: int = 1,
    max_runtime_s: Annotated[
        int, typer.Option(help="StoppingCondition.MaxRuntimeInSeconds.")
    ] = 86400,
    spot: Annotated[bool, typer.Option("--spot", help="EnableManagedSpotTraining.")] = False,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            help=f"KIND@SECONDSs or KIND@/LINE/, such as spot@/epoch=3;/. Kinds: {', '.join(faults.JOB_KINDS)}."
        ),
    ] = None,
    encoding: Encoding = "api",
    metric: Metrics = None,
    checkpoints: Annotated[
        str | None, typer.Option(help="Path or URI of CheckpointConfig.")
    ] = None,
    isolated: Isolated = False,
    request: Request = None,
    print_request: PrintRequest = False,
    as_json: AsJson = False,
) -> int:
    """Run a training job; logs are shown as they come."""
    description = _load_request(request) or shorthand.training_request(
        name=name or shorthand.make_name("training"),
        image=image or shorthand.PROGRAM_IMAGE,
        channels=_parse_pairs("--channel", channel),
        output=output,
        hyperparameters=shorthand.encode_hyperparameters(
            _parse_pairs("--hyperparameter", hyperparameter), encoding
        ),
        environment=_parse_pairs("--env", env),
        metric_definitions=_define_metrics(metric, image, program),
        input_mode=input_mode,
        instance_type=instance_type,
        instance_count=instance_count,
        max_runtime_s=max_runtime_s,
        checkpoints=checkpoints,
        is_isolated=isolated,
        is_spot=spot,
    )
    if print_request:
        return _print_request("CreateTrainingJob", description)
    happenings = [faults.parse(text) for text in fault or ()]
    runner = make_runner(image, program, base_dir=base_dir, memory=memory, gpus=gpus)
    directory = JOBS / "training" / str(description.get("TrainingJobName"))
    with _live_metrics() as on_metric:
        listeners = replace(make_listeners(description), on_metric=on_metric)
        valid = validation.validate("CreateTrainingJob", description)
        job = TrainingJob(valid, runner, directory, listeners, faults=happenings)
        _announce(valid, runner)
        if (
            len(job.hosts) > 1
            and isinstance(runner, ProcessRunner)
            and not description.get("EnableNetworkIsolation")
        ):
            talk.print(
                "[yellow]note:[/] the hosts share this machine's ports; with --isolated each has its own (DS-1)"
            )
        with _stopping(job):
            result = job.run()
    return _report(
        result, as_json=as_json, artifact=result.description["ModelArtifacts"]["S3ModelArtifacts"]
    )


@app.command()
def evaluate(
    model: Annotated[
        str, typer.Option(help="model.tar.gz, or a directory; becomes the input `model`.")
    ] = "",
    test: Annotated[
        str, typer.Option(help="File or directory of the test set; becomes the input `test`.")
    ] = "",
    output: Annotated[
        str | None, typer.Option(help="Path or URI that takes the output `evaluation`.")
    ] = None,
    argument: Annotated[list[str] | None, typer.Option(help="One of ContainerArguments.")] = None,
    entrypoint: Annotated[
        list[str] | None, typer.Option(help="One of ContainerEntrypoint.")
    ] = None,
    image: Image = None,
    program: Program = OWN_PROGRAM,
    base_dir: Prefix = False,
    memory: Memory = None,
    gpus: Gpus = False,
    name: Name = None,
    env: Environment = None,
    request: Request = None,
    print_request: PrintRequest = False,
    as_json: AsJson = False,
) -> int:
    """Run a processing job that scores a model: inputs `model` and `test`, output `evaluation`."""
    description = _load_request(request)
    if description is None:
        missing = [flag for flag, value in (("--model", model), ("--test", test)) if not value]
        if missing:
            message = f"{' and '.join(missing)} must be given; or describe the job with --request"
            raise UserError(message)
        name = name or shorthand.make_name("evaluation")
        description = shorthand.processing_request(
            name=name,
            image=image or shorthand.PROGRAM_IMAGE,
            inputs={"model": model, "test": test},
            outputs={"evaluation": output or str(JOBS / "processing" / name / "evaluation")},
            environment=_parse_pairs("--env", env),
            entrypoint=entrypoint or (),
            arguments=argument or (),
        )
    if print_request:
        return _print_request("CreateProcessingJob", description)
    runner = make_runner(image, program, base_dir=base_dir, memory=memory, gpus=gpus)
    directory = JOBS / "processing" / str(description.get("ProcessingJobName"))
    valid = validation.validate("CreateProcessingJob", description)
    job = ProcessingJob(valid, runner, directory, make_listeners(description))
    _announce(valid, runner)
    with _stopping(job):
        result = job.run()
    outputs = description.get("ProcessingOutputConfig", {}).get("Outputs", [])
    return _report(
        result, as_json=as_json, artifact=", ".join(item["S3Output"]["S3Uri"] for item in outputs)
    )


@app.command()
def serve(
    model: Annotated[
        str | None, typer.Option(help="model.tar.gz, or a directory; none leaves it empty.")
    ] = None,
    port: Annotated[int, typer.Option(help="Of the front; 0 takes a free one.")] = 0,
    image: Image = None,
    program: Program = OWN_PROGRAM,
    base_dir: Prefix = False,
    memory: Memory = None,
    gpus: Gpus = False,
    name: Name = None,
    env: Environment = None,
    instance_count: int = 1,
    startup_s: Annotated[
        int | None, typer.Option(help="ContainerStartupHealthCheckTimeoutInSeconds.")
    ] = None,
    isolated: Isolated = False,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            help=f"KIND@SECONDSs or KIND@/LINE/, such as kill-worker@5s. Kinds: {', '.join(faults.SERVER_KINDS)}."
        ),
    ] = None,
    request: Annotated[
        Path | None,
        typer.Option(
            "--request", help="Requests in the form of --print-request: models, config, endpoint."
        ),
    ] = None,
    print_request: PrintRequest = False,
) -> int:
    """Serve a model until Ctrl-C; `invoke` and any InvokeEndpoint client reach it."""
    requests = _load_endpoint_requests(request) or shorthand.endpoint_requests(
        name=name or shorthand.make_name("endpoint"),
        image=image or shorthand.PROGRAM_IMAGE,
        model=model,
        environment=_parse_pairs("--env", env),
        instance_count=instance_count,
        is_isolated=isolated,
        startup_s=startup_s,
    )
    if print_request:
        print(json.dumps(vars(requests), indent=2))
        return 0
    happenings = [faults.parse(text, faults.SERVER_KINDS) for text in fault or ()]
    runner = make_runner(image, program, base_dir=base_dir, memory=memory, gpus=gpus)
    ended = threading.Event()

    def on_signal(*_: object) -> None:
        if ended.is_set() or not is_up.is_set():
            raise KeyboardInterrupt
        ended.set()

    is_up = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    with serving(requests, runner, port=port, happenings=happenings) as (endpoint, server):
        is_up.set()
        talk.print(
            f"endpoint {endpoint.name} is InService after {endpoint.startup_s:.2f} s; Ctrl-C stops it"
        )
        print(f"{server.url}/endpoints/{endpoint.name}/invocations", flush=True)
        while not ended.wait(0.5):  # an untimed wait would hold back signals on some systems
            pass
    return 0


@app.command()
def invoke(
    body: Annotated[
        str, typer.Argument(help="File with the request's body; - reads standard input.")
    ] = "-",
    content_type: Annotated[str, typer.Option(help="Content-Type of the body.")] = "text/csv",
    accept: Annotated[str | None, typer.Option(help="Accept.", show_default=False)] = None,
    custom_attributes: Annotated[
        str | None, typer.Option(help="X-Amzn-SageMaker-Custom-Attributes.")
    ] = None,
    target_variant: Annotated[
        str | None, typer.Option(help="X-Amzn-SageMaker-Target-Variant.")
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="Its name; none takes the only one that runs.")
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show status, headers and time by stage.")
    ] = False,
) -> int:
    """Send one request to a served endpoint; bytes are passed as they are (RQ-1)."""
    payload = sys.stdin.buffer.read() if body == "-" else _read_bytes(Path(body))
    optional = {
        "Accept": accept,
        contract.CUSTOM_ATTRIBUTES_HEADER: custom_attributes,
        "X-Amzn-SageMaker-Target-Variant": target_variant,
    }
    headers = {"Content-Type": content_type} | {
        key: value for key, value in optional.items() if value is not None
    }
    url = _find_endpoint(endpoint)
    started = time.monotonic()
    call = urllib.request.Request(url, data=payload, headers=headers, method="POST")  # noqa: S310 - loopback
    try:
        with urllib.request.urlopen(call) as response:  # noqa: S310
            status, answer_headers, answer = response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        status, answer_headers, answer = error.code, error.headers, error.read()
    except urllib.error.URLError as error:
        message = f"{url} is out of reach: {error.reason}"
        raise PlatformError(message) from error
    if verbose or status != 200:
        talk.print(
            f"a caller of InvokeEndpoint sees status {status} after {time.monotonic() - started:.4f} s"
        )
        for key, value in answer_headers.items():
            talk.print(f"  {_escape(key)}: {_escape(value)}", soft_wrap=True)
    sys.stdout.buffer.write(answer)
    if sys.stdout.isatty() and not answer.endswith(b"\n"):
        sys.stdout.buffer.write(b"\n")
    sys.stdout.flush()
    return 0 if status == 200 else 1


@app.command()
def transform(
    data: Annotated[
        str, typer.Argument(help="File or directory, or URI prefix, of the input objects.")
    ] = "",
    model: Annotated[str | None, typer.Option(help="model.tar.gz, or a directory.")] = None,
    output: Annotated[
        str | None, typer.Option(help="Path or URI below which every INPUT.out will lie.")
    ] = None,
    content_type: Annotated[str, typer.Option(help="TransformInput.ContentType.")] = "text/csv",
    accept: Annotated[str | None, typer.Option(help="TransformOutput.Accept.")] = None,
    split_type: Annotated[str, typer.Option(help="None, Line, RecordIO or TFRecord.")] = "Line",
    assemble_with: Annotated[str, typer.Option(help="None or Line.")] = "Line",
    strategy: Annotated[
        str | None, typer.Option(help="MultiRecord or SingleRecord; none asks the container.")
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(help="MaxConcurrentTransforms; none asks the container.")
    ] = None,
    payload_megabytes: Annotated[
        int | None, typer.Option(help="MaxPayloadInMB; 0 sends chunks.")
    ] = None,
    compression: Annotated[str, typer.Option(help="None or Gzip.")] = "None",
    input_filter: Annotated[
        str | None, typer.Option(help="JSONPath of what is sent of each record.")
    ] = None,
    output_filter: Annotated[
        str | None, typer.Option(help="JSONPath of what is stored of each record.")
    ] = None,
    join: Annotated[
        bool, typer.Option("--join", help="JoinSource Input: records and answers side by side.")
    ] = False,
    image: Image = None,
    program: Program = OWN_PROGRAM,
    base_dir: Prefix = False,
    memory: Memory = None,
    gpus: Gpus = False,
    name: Name = None,
    env: Environment = None,
    instance_count: int = 1,
    request: Request = None,
    print_request: PrintRequest = False,
    as_json: AsJson = False,
) -> int:
    """Run a batch transform job; --request names the job's request, --model and --env still make the model."""
    description = _load_request(request)
    if description is None:
        if not data:
            message = "the input is missing; name a file, a directory or a URI prefix"
            raise UserError(message)
        name = name or shorthand.make_name("transform")
        description = shorthand.transform_request(
            name=name,
            model_name=name,
            data=data,
            output=output or str(JOBS / "transform" / name / "output"),
            content_type=content_type,
            accept=accept,
            split_type=split_type,
            assemble_with=assemble_with,
            strategy=strategy,
            concurrency=concurrency,
            payload_megabytes=payload_megabytes,
            compression=compression,
            input_filter=input_filter,
            output_filter=output_filter,
            is_joined=join,
            instance_count=instance_count,
        )
    if print_request:
        return _print_request("CreateTransformJob", description)
    made = shorthand.endpoint_requests(
        name=description.get("ModelName", ""),
        image=image or shorthand.PROGRAM_IMAGE,
        model=model,
        environment=_parse_pairs("--env", env),
    )
    runner = make_runner(image, program, base_dir=base_dir, memory=memory, gpus=gpus)
    directory = JOBS / "transform" / str(description.get("TransformJobName"))
    [container] = made.models.values()
    valid = validation.validate("CreateTransformJob", description)
    valid_model = validation.validate("CreateModel", container)
    job = TransformJob(valid, valid_model, runner, directory, make_listeners(description))
    _announce(valid, runner)
    with _stopping(job):
        result = job.run()
    return _report(result, as_json=as_json, artifact=description["TransformOutput"]["S3OutputPath"])


@app.command()
def smoke(
    channel: Annotated[
        list[str] | None,
        typer.Option("--channel", "-c", help="NAME=PATH of training data; none takes digits."),
    ] = None,
    hyperparameter: Annotated[
        list[str] | None, typer.Option("--hyperparameter", "-p", help="NAME=VALUE.")
    ] = None,
    test: Annotated[
        str | None, typer.Option(help="Test set for the evaluation; none takes digits.")
    ] = None,
    body: Annotated[
        Path | None, typer.Option(help="File with a request's body; none takes one digit's CSV.")
    ] = None,
    content_type: Annotated[str, typer.Option(help="Content-Type of the body.")] = "text/csv",
    evaluation: Annotated[
        bool, typer.Option(help="Whether the container evaluates in a processing job.")
    ] = True,
    image: Image = None,
    program: Program = OWN_PROGRAM,
    base_dir: Prefix = False,
    memory: Memory = None,
    gpus: Gpus = False,
    env: Environment = None,
) -> int:
    """Go the whole way once: train, evaluate, serve, invoke, stop."""
    from local_test.cli import digits as handwritten  # noqa: PLC0415 - only the whole way needs data of its own

    runner = make_runner(image, program, base_dir=base_dir, memory=memory, gpus=gpus)
    name = shorthand.make_name("smoke")
    data = (
        handwritten.write(JOBS / "digits")
        if not channel or (evaluation and not test) or body is None
        else None
    )
    image_name = image or shorthand.PROGRAM_IMAGE
    environment = _parse_pairs("--env", env)
    training = shorthand.training_request(
        name=name,
        image=image_name,
        channels=_parse_pairs("--channel", channel)
        or {"training": str(data.training) if data else ""},
        output=str(JOBS / "training"),
        hyperparameters=_parse_pairs("--hyperparameter", hyperparameter),
        environment=environment,
        metric_definitions=contract.METRIC_DEFINITIONS
        if image is None and program == OWN_PROGRAM
        else (),
    )
    job = TrainingJob(
        validation.validate("CreateTrainingJob", training),
        runner,
        JOBS / "training" / name,
        make_listeners(training),
    )
    with _stopping(job):
        trained = job.run()
    model = trained.description["ModelArtifacts"]["S3ModelArtifacts"]
    if _report(trained, as_json=False, artifact=model) != 0:
        return 1
    if evaluation:
        results = JOBS / "processing" / name / "evaluation"
        processing = shorthand.processing_request(
            name=name,
            image=image_name,
            inputs={"model": model, "test": test or (str(data.test) if data else "")},
            outputs={"evaluation": str(results)},
            environment=environment,
        )
        scoring = ProcessingJob(
            validation.validate("CreateProcessingJob", processing),
            runner,
            JOBS / "processing" / name,
            make_listeners(processing),
        )
        with _stopping(scoring):
            scored = scoring.run()
        if _report(scored, as_json=False, artifact=str(results)) != 0:
            return 1
    payload = body.read_bytes() if body else (data.test_rows()[0][1].encode() if data else b"")
    requests = shorthand.endpoint_requests(
        name=name, image=image_name, model=model, environment=environment
    )
    with serving(requests, runner) as (endpoint, _):
        answer = endpoint.invoke(payload, {"Content-Type": content_type})
        talk.print(
            f"invoke: the container answered {answer.status} after {answer.total_s * 1000:.1f} ms"
        )
        print(answer.body.decode("utf-8", "replace"))
    return 0 if answer.status == 200 else 1


@app.command()
def conform(
    image: Image = None,
    program: Annotated[
        str | None, typer.Option("--program", help="Judge this command line.")
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="Judge the server at this URL; HTTP checks alone.")
    ] = None,
    train: Annotated[bool, typer.Option("--train", help="Judge training alone.")] = False,
    serve: Annotated[bool, typer.Option("--serve", help="Judge serving alone.")] = False,
    only: Annotated[
        list[str] | None, typer.Option(help="Judge these checks alone, such as HO-4a; repeatable.")
    ] = None,
    channel: Annotated[
        list[str] | None,
        typer.Option(
            "--channel", "-c", help="NAME=PATH of a small training job; none takes digits."
        ),
    ] = None,
    hyperparameter: Annotated[
        list[str] | None, typer.Option("--hyperparameter", "-p", help="NAME=VALUE.")
    ] = None,
    env: Environment = None,
    stop_at: Annotated[
        str, typer.Option(help="Log line, as a regular expression, at which training is stopped.")
    ] = ".",
    metric: Metrics = None,
    model: Annotated[
        str | None, typer.Option(help="model.tar.gz or directory; none takes the trained one.")
    ] = None,
    body: Annotated[
        Path | None, typer.Option(help="File with the body of a good request; none takes a digit.")
    ] = None,
    content_type: Annotated[str, typer.Option(help="Content-Type of the body.")] = "text/csv",
    accept: Annotated[str, typer.Option(help="Accept of the good request.")] = "*/*",
    multi_model: Annotated[
        bool,
        typer.Option(
            "--multi-model", help="The container serves several models, as its label says (IMG-12)."
        ),
    ] = False,
    start_s: Annotated[float, typer.Option(help="Start limit of a server.")] = 480,
    base_dir: Prefix = False,
    memory: Memory = None,
    gpus: Gpus = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdicts as JSON.")] = False,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML here.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write one self-contained page here.")] = None,
) -> int:
    """Judge a container by the contract; exit code 1 if a MUST is violated."""
    from local_test.cli import digits as handwritten  # noqa: PLC0415 - needed by this command alone
    from local_test.conformance import report  # noqa: PLC0415
    from local_test.conformance import run as conformance  # noqa: PLC0415
    from local_test.conformance.subject import Subject, Waits  # noqa: PLC0415

    identities = conformance.choose(
        train=train,
        serve=serve,
        only=only or (),
        is_url=url is not None,
        has_model=model is not None,
    )
    name = shorthand.make_name("conform")
    data = handwritten.write(JOBS / "digits") if (not channel and not url) or body is None else None
    runner = (
        None
        if url
        else make_runner(image, program or OWN_PROGRAM, base_dir=base_dir, memory=memory, gpus=gpus)
    )
    description = _describe_image(image) if image else None
    labels = (description or {}).get("Config", {}).get("Labels") or {}
    subject = Subject(
        runner=runner,
        directory=JOBS / "conform" / name,
        address=conformance.parse_url(url) if url else None,
        image=description,
        can_protect=image is not None or (isinstance(runner, ProcessRunner) and runner.is_private),
        channels=_parse_pairs("--channel", channel)
        or ({"training": str(data.training), "validation": str(data.test)} if data else {}),
        hyperparameters=_parse_pairs("--hyperparameter", hyperparameter),
        environment=_parse_pairs("--env", env),
        metric_definitions=_define_metrics(metric, image, program or OWN_PROGRAM)[:5],
        stop_at=stop_at,
        model=model,
        body=body.read_bytes() if body else data.test_rows()[0][1].encode() if data else b"",
        content_type=content_type,
        accept=accept,
        is_multi_model=multi_model or labels.get(contract.MULTI_MODEL_LABEL) == "true",
        waits=Waits(start_s=start_s),
    )
    what = url or image or program or OWN_PROGRAM
    subject.directory.mkdir(parents=True)
    talk.print(
        f"{len(identities)} checks of {_escape(what)}; logs and job directories: {subject.directory}"
    )
    verdicts = conformance.run(subject, identities, on_verdict=_show_verdict)
    if junit:
        junit.write_text(report.format_junit(what, verdicts), encoding="utf-8")
    if html:
        html.write_text(report.format_html(what, verdicts), encoding="utf-8")
    tally = report.count(verdicts)
    if as_json:
        print(report.format_json(what, verdicts))
    else:
        print(", ".join(f"{number} {outcome}" for outcome, number in tally.items()))
    return 1 if tally["MUST violated"] else 0


def _show_verdict(verdict: Verdict) -> None:
    color = {"pass": "green", "fail": "bold red"}.get(verdict.outcome, "dim")
    outcome = "n/a" if verdict.outcome == "not applicable" else verdict.outcome
    check = verdict.check
    talk.print(
        f"[{color}]{outcome:4}[/] {check.id:8} {check.severity:6} {_escape(check.claim)}",
        soft_wrap=True,
    )
    if verdict.is_violation:
        talk.print(f"       {_escape(verdict.evidence)}", soft_wrap=True)
        talk.print(f"       remedy: {_escape(check.remedy)}", soft_wrap=True)


def _describe_image(image: str) -> dict[str, Any]:
    from local_test.runners import engine  # noqa: PLC0415 - the engine's client is slow to import

    return engine.describe_image(image)


@app.command("fields")
def print_fields() -> None:
    """Print what happens here to each field of each request, as Markdown."""
    print(treatments.format_table(), end="")


@contextlib.contextmanager
def serving(
    requests: EndpointRequests,
    runner: Runner,
    *,
    port: int = 0,
    happenings: Sequence[faults.Fault] = (),
) -> Iterator[tuple[Endpoint, InvocationServer]]:
    """Start an endpoint and its HTTP server; at the end, stop both and report findings."""
    name = requests.endpoint["EndpointName"]
    for request in requests.validate():
        if request.operation == "CreateModel":
            _announce(request, runner)
    endpoint = Endpoint(
        requests, runner, JOBS / "endpoints" / name, on_line=_show_line, faults=happenings
    )
    with contextlib.closing(InvocationServer({name: endpoint}, port)) as server:
        endpoint.start()
        server.start()
        state = JOBS / "endpoints" / name / "endpoint.json"
        try:
            url = f"{server.url}/endpoints/{name}/invocations"
            state.write_text(json.dumps({"url": url, "pid": os.getpid()}), encoding="utf-8")
            yield endpoint, server
        finally:
            state.unlink(missing_ok=True)
            for finding in endpoint.stop():
                talk.print(f"[yellow]finding:[/] {_escape(finding)}")


def make_runner(
    image: str | None,
    program: str,
    *,
    base_dir: bool = False,
    memory: str | None = None,
    gpus: bool = False,
) -> Runner:
    """Give the Docker runner for an image, else the process runner; our own program runs in its checkout."""
    limit = _parse_memory(memory) if memory else None
    if image is not None:
        from local_test.runners.docker import DockerRunner  # noqa: PLC0415 - the engine's client is slow to import

        return DockerRunner(image, memory_bytes=limit, gpus=gpus)
    if gpus:
        message = "--gpus is for --image; a program sees the GPUs of this machine anyway"
        raise UserError(message)
    directory = CHECKOUT if program == OWN_PROGRAM else Path.cwd()
    private = False if base_dir else None
    return ProcessRunner(
        shlex.split(program), directory=directory, is_private=private, memory_bytes=limit
    )


def _parse_memory(text: str) -> int:
    match = re.fullmatch(r"(\d+)([kmg]?)", text.lower())
    if match is None or int(match[1]) == 0:
        message = f"--memory {text!r}: a number of bytes is expected, or of k, m or g, such as 512m"
        raise UserError(message)
    return int(match[1]) << 10 * "_kmg".index(match[2] or "_")


def _define_metrics(
    texts: list[str] | None, image: str | None, program: str
) -> list[dict[str, str]]:
    own = contract.METRIC_DEFINITIONS if image is None and program == OWN_PROGRAM else ()
    given = [
        {"Name": name, "Regex": pattern}
        for name, pattern in _parse_pairs("--metric", texts).items()
    ]
    return given or [dict(definition) for definition in own]


def _load_endpoint_requests(path: Path | None) -> EndpointRequests | None:
    document = _load_request(path)
    if document is None:
        return None
    try:
        requests = EndpointRequests(**document)
        requests.models.values()
        requests.endpoint["EndpointName"]
    except (TypeError, AttributeError, KeyError) as error:
        message = (
            f"{path} does not describe an endpoint: models (CreateModel by name), config (CreateEndpointConfig) and "
            f"endpoint (CreateEndpoint) are expected, as --print-request prints them; found {', '.join(document)}"
        )
        raise UserError(message) from error
    return requests


def _load_request(path: Path | None) -> dict[str, Any] | None:
    if path is None:
        return None
    text = _read_bytes(path).decode("utf-8")
    try:
        if path.suffix == ".json":
            document = json.loads(text)
        else:
            import yaml  # noqa: PLC0415

            document = yaml.safe_load(text)
    except ValueError as error:
        message = f"{path} is not JSON: {error}"
        raise UserError(message) from error
    except Exception as error:
        if type(error).__module__.startswith("yaml"):
            message = f"{path} is not YAML: {error}"
            raise UserError(message) from error
        raise
    if not isinstance(document, dict):
        message = f"{path} holds a {type(document).__name__}; a request is an object"
        raise UserError(message)
    return document


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise UserError(message) from error


def _print_request(operation: str, request: dict[str, Any]) -> int:
    validation.validate(operation, request)
    text = json.dumps(request, indent=2)
    if "file://" in text:
        talk.print(
            "note: AWS takes this request when s3:// URIs stand in place of file://, and a role of yours"
        )
    print(text)
    return 0


def _parse_pairs(flag: str, texts: list[str] | None) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not key or not equals:
            message = f"{flag} {text!r}: NAME=VALUE is expected"
            raise UserError(message)
        if key in pairs:
            message = f"{flag} {key!r} is given twice: {pairs[key]!r} and {value!r}"
            raise UserError(message)
        pairs[key] = value
    return pairs


def _announce(request: ValidRequest, runner: Runner) -> None:
    talk.print(f"{request.operation}: {_escape(runner.description)}", soft_wrap=True)
    for line in request.notes:
        if not line.startswith(
            ("RoleArn", "ExecutionRoleArn", "ResourceConfig.Volume", "ProcessingResources.Cluster")
        ):
            talk.print(f"[yellow]note:[/] {_escape(line)}", soft_wrap=True)


def make_listeners(request: dict[str, Any]) -> Listeners:
    """Show a job's logs, with the host before each line if there are several, and its statuses."""
    resources = (
        request.get("ResourceConfig")
        or request.get("TransformResources")
        or request.get("ProcessingResources", {}).get("ClusterConfig", {})
    )
    is_single = resources.get("InstanceCount", 1) == 1 and not resources.get("InstanceGroups")

    def on_status(status: str, message: str) -> None:
        talk.print(f"[bold]{status}[/] {_escape(message)}", soft_wrap=True)

    return Listeners(
        on_line=lambda host, line: _show_line("" if is_single else host, line), on_status=on_status
    )


def _show_line(host: str, line: str) -> None:
    print(f"{host} | {line}" if host else line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def _stopping(job: _Stoppable) -> Iterator[None]:
    """Turn the first Ctrl-C or SIGTERM into the platform's stop, the second into an end at once."""
    count = 0

    def on_signal(number: int, _: FrameType | None) -> None:
        nonlocal count
        count += 1
        if count > 1:
            raise KeyboardInterrupt
        talk.print(f"{signal.Signals(number).name}: stopping as the platform does; again to kill")
        job.stop()

    previous = {
        number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _report(result: JobResult, *, as_json: bool, artifact: str) -> int:
    if result.metrics and not as_json:
        _show_metrics(result)
    for finding in result.findings:
        talk.print(f"[yellow]finding:[/] {_escape(finding)}", soft_wrap=True)
    if as_json:
        print(json.dumps(result.description, indent=2))
    else:
        print(f"{result.status} {artifact}" if result.status != "Failed" else "Failed")
        talk.print(f"job directory: {_escape(str(result.directory))}", soft_wrap=True)
    return {"Completed": 0, "Stopped": 130}.get(result.status, 1)


def _show_metrics(result: JobResult) -> None:
    talk.print(_tabulate(result.metrics))


def _tabulate(metrics: Sequence[Metric]) -> Table:
    table = Table("metric", "values", "last", "smallest", "largest", "course")
    for name in dict.fromkeys(metric.name for metric in metrics):
        values = [metric.value for metric in metrics if metric.name == name]
        numbers = (f"{value:.6g}" for value in (values[-1], min(values), max(values)))
        table.add_row(name, str(len(values)), *numbers, _draw(values[-_COURSE_POINTS:]))
    return table


def _draw(values: Sequence[float]) -> str:
    """Draw values as one line of bars; what is not finite is a gap."""
    finite = [value for value in values if math.isfinite(value)]
    low, span = (
        min(finite, default=0.0),
        (max(finite, default=0.0) - min(finite, default=0.0)) or 1.0,
    )
    last = len(_BARS) - 1
    return "".join(
        _BARS[round((value - low) / span * last)] if math.isfinite(value) else " "
        for value in values
    )


@contextlib.contextmanager
def _live_metrics() -> Iterator[Callable[[Metric], None]]:
    """Show a job's metrics below its log, on a terminal; elsewhere the log has them already."""
    if not talk.is_terminal:
        yield lambda _: None
        return
    from rich.live import Live  # noqa: PLC0415 - for terminals alone

    metrics: list[Metric] = []
    with Live(
        console=talk, transient=True, get_renderable=lambda: _tabulate(metrics) if metrics else ""
    ):
        yield metrics.append


def _find_endpoint(name: str | None) -> str:
    paths = JOBS.glob("endpoints/*/endpoint.json")
    states = {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in paths}
    running = {key: state for key, state in states.items() if name_process(state["pid"])}
    if name is not None and name in running:
        return str(running[name]["url"])
    if name is None and len(running) == 1:
        return str(next(iter(running.values()))["url"])
    what = f"endpoint {name!r} does not run" if name else "name one with --endpoint"
    message = f"{what}; running are: {', '.join(running) or 'none (python -m local_test serve starts one)'}"
    raise UserError(message)


def _escape(text: str) -> str:
    return text.replace("[", "\\[")
