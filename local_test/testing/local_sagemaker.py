"""SageMaker on this machine as tests see it: train a project, serve the model, ask the endpoint.

Jobs and endpoints are those of `local_test train` and `local_test serve`. Log lines go to standard
error, where pytest shows them beside a test that fails; findings become warnings.
"""

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from container import contract
from container.errors import UserError
from local_test.cli import terminal
from local_test.cli.options import OWN_PROGRAM, ContainerOptions, parse_pairs
from local_test.cli.samples import project as projects
from local_test.cli.samples.project import Project
from local_test.data import storage
from local_test.endpoints.endpoint import Endpoint
from local_test.endpoints.invocation import Answer
from local_test.endpoints.invocation_server import InvocationServer
from local_test.jobs.result import JobResult
from local_test.jobs.training import TrainingJob
from local_test.requests import content_types, shorthand
from local_test.requests.validation import validate

terminal.no_stop.acquire(blocking=False)  # the tests of a user go on without a reader


class FindingWarning(UserWarning):
    """What SageMaker accepts now and the user will regret, with the clause of docs/contract.md."""


class JobFailedError(UserError):
    """A training job did not complete; `result` has its log's directory and its description."""

    def __init__(self, result: JobResult) -> None:
        """Name the status and the reason."""
        reason = result.failure or "the job ended before it was done"
        super().__init__(f"the training job {result.status.lower()}: {reason}")
        self.result = result


@dataclass(frozen=True)
class TrainingRun:
    """A completed training job."""

    result: JobResult

    @property
    def model(self) -> Path:
        """The archive `model.tar.gz`."""
        return storage.to_path(self.result.description["ModelArtifacts"]["S3ModelArtifacts"])

    @property
    def metrics(self) -> dict[str, float]:
        """The last value of each metric that the job logged."""
        return {metric.name: metric.value for metric in self.result.metrics}

    @property
    def log(self) -> str:
        """What all hosts logged."""
        files = sorted((self.result.directory / "logs").glob("*.log"))
        return "".join(file.read_text("utf-8", "replace") for file in files)


@dataclass(frozen=True)
class ServedEndpoint:
    """An endpoint in service."""

    name: str
    url: str
    """Where any HTTP client posts requests, as to `/endpoints/NAME/invocations` of the service."""
    _endpoint: Endpoint

    def invoke(
        self,
        body: bytes | str | Path,
        content_type: str | None = None,
        *,
        accept: str | None = None,
        custom_attributes: str | None = None,
        target_model: str | None = None,
    ) -> Answer:
        """Send a request as InvokeEndpoint does, and return whatever the container answers.

        `body` is bytes, text, or the path of a file. Without `content_type`, the file's suffix or
        the first bytes decide.

        Raises: RequestError if the service refuses the request.
        """
        payload = _read(body)
        name = str(body) if isinstance(body, Path) else ""
        headers = {
            "Content-Type": content_type or content_types.guess(name, payload),
            "Accept": accept,
            contract.CUSTOM_ATTRIBUTES_HEADER: custom_attributes,
            "X-Amzn-SageMaker-Target-Model": target_model,
        }
        given = {name: value for name, value in headers.items() if value is not None}
        return self._endpoint.invoke(payload, given)


def _read(body: bytes | str | Path) -> bytes:
    if isinstance(body, Path):
        return body.read_bytes()
    return body.encode() if isinstance(body, str) else body


@dataclass(frozen=True)
class LocalSageMaker:
    """Runs one container, an image or a program, with the data of a project."""

    container: ContainerOptions
    project: Project
    directory: Path
    """Where jobs and endpoints have their directories."""

    def train(
        self,
        channels: Mapping[str, str | Path] | None = None,
        hyperparameters: Mapping[str, object] | None = None,
        *,
        metrics: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> TrainingRun:
        """Run a training job.

        `channels` are added to those of the project, `code` and `training`, or replace them.
        `metrics` are regular expressions by name; by default those of the toolkit's program.

        Raises: JobFailedError if the job does not complete; UserError if data are missing or the
        service would refuse the request.
        """
        places = self.project.list_channels(self.container)
        places |= {name: str(place) for name, place in (channels or {}).items()}
        _check_places(places)
        name = shorthand.make_name("test")
        pairs = [f"{name}={pattern}" for name, pattern in (metrics or {}).items()]
        fields = shorthand.training_request(
            name=name,
            image=self.container.image_name,
            channels=places,
            output=str(self.directory / "training"),
            hyperparameters={key: str(value) for key, value in (hyperparameters or {}).items()},
            environment={**self.container.environment, **(environment or {})},
            metric_definitions=self.container.define_metrics(pairs),
        )
        request = validate("CreateTrainingJob", fields)
        job = TrainingJob(
            request,
            self.container.make_runner(),
            self.directory / "training" / name,
            terminal.make_listeners(request),
        )
        result = job.run()
        _warn(result.findings)
        if result.status != "Completed":
            raise JobFailedError(result)
        return TrainingRun(result)

    @contextlib.contextmanager
    def serve(
        self,
        model: TrainingRun | str | Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Iterator[ServedEndpoint]:
        """Serve a model until the end of the context.

        `model` is a training job, `model.tar.gz`, a directory, or None for an image that has its
        own.

        Raises: UserError if the server does not become healthy; its log says why.
        """
        place = model.model if isinstance(model, TrainingRun) else model
        if place is not None:
            _check_places({"model": str(place)})
        name = shorthand.make_name("test")
        requests = shorthand.endpoint_requests(
            name=name,
            image=self.container.image_name,
            model=None if place is None else str(place),
            environment={**self.container.environment, **(environment or {})},
        )
        endpoint = Endpoint(
            requests,
            self.container.make_runner(),
            self.directory / "endpoints" / name,
            lambda _, line: terminal.show_line("", line),
        )
        with contextlib.closing(InvocationServer({name: endpoint})) as server:
            endpoint.start()
            server.start()
            try:
                yield ServedEndpoint(name, f"{server.url}/endpoints/{name}/invocations", endpoint)
            finally:
                _warn(endpoint.stop())


@dataclass(frozen=True)
class Settings:
    """What a run of pytest says about the container under test."""

    image: str = ""
    program: str = ""
    project: str = ""
    """Folder below the root of the tests; if empty, the first project at or above that root."""
    environment: Sequence[str] = ()
    """NAME=VALUE texts."""

    def make(self, start: Path, directory: Path) -> LocalSageMaker:
        """Return the local SageMaker; `start` is the root of the tests, `directory` for jobs.

        Without a project, channels come from `data/` in `start`.

        Raises: UserError if both an image and a program are named, or a setting is wrong.
        """
        if self.image and self.program:
            message = f"choose one: the image {self.image!r}, or sagemaker_program {self.program!r}"
            raise UserError(message)
        parse_pairs("sagemaker_env", self.environment)
        container = ContainerOptions(
            image=self.image or None,
            program=self.program or OWN_PROGRAM,
            env=list(self.environment),
        )
        return LocalSageMaker(container, _find_project(start, self.project), directory)


def _find_project(start: Path, named: str) -> Project:
    if named:
        return Project(start / named)
    found = (projects.find(folder) for folder in (start, *start.parents))
    return next((project for project in found if project is not None), Project(start))


def _check_places(places: Mapping[str, str]) -> None:
    missing = {
        name: place
        for name, place in places.items()
        if "://" not in place and not Path(place).expanduser().exists()
    }
    if missing:
        found = ", ".join(f"{name}: {place}" for name, place in missing.items())
        raise UserError(
            f"these do not exist: {found}; set sagemaker_project to the folder of code/ and data/, "
            "or name other places"
        )


def _warn(findings: Sequence[str]) -> None:
    for finding in findings:
        warnings.warn(finding, FindingWarning, stacklevel=2)
