"""The commands that try everything once: smoke, and the demonstration that `demo.sh` starts."""

import json
import random
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from container.errors import UserError
from local_test.cli import endpoint_commands, request_files, terminal
from local_test.cli.options import JOBS, ContainerOptions, DataOptions, with_groups
from local_test.cli.samples import digits, project
from local_test.data.local_objects import check_presence
from local_test.endpoints.endpoint import Endpoint
from local_test.jobs.processing import ProcessingJob
from local_test.jobs.training import TrainingJob
from local_test.requests import shorthand
from local_test.requests.validation import validate

_DEMO_HYPERPARAMETERS: Final = {"epochs": "40"}
_SHOWN_IMAGES: Final = 10


@dataclass(frozen=True)
class Trial:
    """A container that is tried: trained, evaluated and served under one name."""

    name: str
    container: ContainerOptions

    def train(self, channels: Mapping[str, str], hyperparameters: Mapping[str, str]) -> str:
        """Run a training job; return the URI of its model.

        Raises: typer.Exit if it does not complete.
        """
        request = validate(
            "CreateTrainingJob",
            shorthand.training_request(
                name=self.name,
                image=self.container.image_name,
                channels=channels,
                output=str(JOBS / "training"),
                hyperparameters=hyperparameters,
                environment=self.container.environment,
                metric_definitions=self.container.define_metrics(None),
            ),
        )
        runner = self.container.make_runner()
        directory = JOBS / "training" / self.name
        job = TrainingJob(request, runner, directory, terminal.make_listeners(request))
        result = terminal.run_job(job, request, runner)
        model = str(result.description["ModelArtifacts"]["S3ModelArtifacts"])
        if terminal.report(result, model) != 0:
            raise typer.Exit(1)
        return model

    def evaluate(self, model: str, test: str) -> Path:
        """Run a processing job; return the directory of its output.

        Raises: typer.Exit if it does not complete.
        """
        directory = JOBS / "processing" / self.name
        output = directory / "evaluation"
        request = validate(
            "CreateProcessingJob",
            shorthand.processing_request(
                name=self.name,
                image=self.container.image_name,
                inputs={"model": model, "test": test},
                outputs={"evaluation": str(output)},
                environment=self.container.environment,
            ),
        )
        runner = self.container.make_runner()
        job = ProcessingJob(request, runner, directory, terminal.make_listeners(request))
        if terminal.report(terminal.run_job(job, request, runner), str(output)) != 0:
            raise typer.Exit(1)
        return output

    def serve(self, model: str) -> AbstractContextManager[tuple[Endpoint, str]]:
        """Serve a model until the end of the context."""
        requests = shorthand.endpoint_requests(
            name=self.name,
            image=self.container.image_name,
            model=model,
            environment=self.container.environment,
        )
        return endpoint_commands.serving(requests, self.container.make_runner())


@with_groups
def smoke(
    data: DataOptions,
    container: ContainerOptions,
    test: Annotated[
        str | None, typer.Option(help="Test set for the evaluation; by default handwritten digits.")
    ] = None,
    body: Annotated[
        Path | None,
        typer.Option(help="File with the body of a request; by default a handwritten digit."),
    ] = None,
    content_type: Annotated[str, typer.Option(help="Content-Type of the body.")] = "text/csv",
    evaluation: Annotated[
        bool | None,
        typer.Option(
            help="Whether to evaluate the model in a processing job; by default yes, except for "
            "the project in the current folder if --test is not given.",
            show_default=False,
        ),
    ] = None,
) -> int:
    """Run a container once: train, evaluate, serve, answer a request, stop.

    Without --channel, it uses the project in the current folder, or else handwritten digits.
    """
    data, found = project.complete(data, container)
    if found is not None:
        body = body or found.request
    if evaluation is None:
        evaluation = found is None or test is not None
    channels = data.channels
    handwritten = None
    if not channels or not body or (evaluation and not test):
        handwritten = digits.write(JOBS / "digits")
        channels = channels or {"training": str(handwritten.training)}
        test = test or str(handwritten.test)
    payload = _read_inputs(test, body, handwritten)
    trial = Trial(shorthand.make_name("smoke"), container)
    model = trial.train(channels, data.hyperparameters)
    if evaluation:
        trial.evaluate(model, str(test))
    with trial.serve(model) as (endpoint, _):
        answer = endpoint.invoke(payload, {"Content-Type": content_type})
        terminal.say(
            f"invoke: the container answered {answer.status} after {answer.total_s * 1000:.1f} ms"
        )
        print(answer.body.decode("utf-8", "replace"))
    return int(answer.status != 200)


def _read_inputs(test: str | None, body: Path | None, handwritten: digits.Digits | None) -> bytes:
    """Return the body of the request. Raises: UserError, before a job, if a file is missing."""
    if test:
        check_presence(test)
    if body is None:
        assert handwritten is not None  # noqa: S101 - there is no body, so digits were written
        return handwritten.test_rows()[0][1].encode()
    return request_files.read_bytes(body)


def demo() -> int:
    """Train on handwritten digits, evaluate, serve, and predict ten test images."""
    trial = Trial(shorthand.make_name("demo"), ContainerOptions())
    data = digits.write(JOBS / "digits")
    _print_step("1/4 training on handwritten digits")
    model = trial.train({"training": str(data.training)}, _DEMO_HYPERPARAMETERS)
    _print_step("2/4 evaluating on test images")
    evaluation = trial.evaluate(model, str(data.test))
    accuracy = json.loads((evaluation / "metrics.json").read_text("utf-8"))["accuracy"]
    _print_step("3/4 serving")
    rows = data.test_rows()
    with trial.serve(model) as (endpoint, url):
        print(f"healthy after {endpoint.startup_s:.2f} s at {url}")
        _print_step(f"4/4 predicting {_SHOWN_IMAGES} test images")
        chosen = random.sample(rows, _SHOWN_IMAGES)
        right = sum(_predict(endpoint, label, pixels) for label, pixels in chosen)
    print(f"{right} of {_SHOWN_IMAGES} right; accuracy on all {len(rows)} images: {accuracy:.4f}")
    print(f"report: {evaluation / 'report.html'}")
    print(f"model:  {model.removeprefix('file://')}")
    return 0


def _print_step(step: str) -> None:
    print(f"\n=== {step}", flush=True)


def _predict(endpoint: Endpoint, label: str, pixels: str) -> bool:
    """Predict one image, print the prediction, and return whether it is right."""
    headers = {"Content-Type": "text/csv", "Accept": "application/json"}
    answer = endpoint.invoke(pixels.encode(), headers)
    if answer.status != 200:
        message = f"the server answered {answer.status}: {answer.body.decode('utf-8', 'replace')}"
        raise UserError(message)
    prediction = json.loads(answer.body)["predictions"][0]
    is_right = str(prediction["label"]) == label
    print(
        f"label {label}  prediction {prediction['label']}  score {prediction['score']:.3f}  "
        f"{answer.total_s * 1000:5.1f} ms{'' if is_right else '  wrong'}"
    )
    return is_right
