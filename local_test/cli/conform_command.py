"""The command that judges a container by the contract: conform."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from container import contract
from container.errors import PlatformError
from local_test.cli import request_files, terminal
from local_test.cli.options import (
    JOBS,
    ContainerOptions,
    DataOptions,
    flag,
    metric_option,
    option,
    with_groups,
)
from local_test.cli.runs import next_steps
from local_test.cli.samples import digits, project
from local_test.conformance import report
from local_test.conformance import run as conformance
from local_test.conformance.catalog import Verdict
from local_test.conformance.obstacles import MACHINE_FAILED
from local_test.conformance.progress import Progress
from local_test.conformance.subject import Subject, Waits
from local_test.data.local_objects import check_presence
from local_test.requests import shorthand
from local_test.runners.interface import Runner
from local_test.runners.process import ProcessRunner


@dataclass(frozen=True)
class ChoiceOptions:
    """What is judged."""

    url: str | None = option(None, "Check a running server at this URL, over HTTP only.")
    train: bool = flag("Check only training.", "--train")
    serve: bool = flag("Check only serving.", "--serve")
    only: list[str] | None = option(None, "Run only this check, such as HO-4a; can be repeated.")


@dataclass(frozen=True)
class SampleOptions:
    """What the container needs for a good run: a model, a request, its metrics and times."""

    stop_at: str = option(
        ".", "Stop training at the first log line that matches this regular expression."
    )
    metric: list[str] | None = metric_option()
    model: str | None = option(None, "model.tar.gz or a directory; by default the trained model.")
    body: Path | None = option(
        None, "File with the body of a valid request; by default a handwritten digit."
    )
    content_type: str = option("text/csv", "Content-Type header of the body.")
    accept: str = option("*/*", "Accept header of the valid request.")
    multi_model: bool = flag(
        "Also check multi-model serving, which the image must have a label for.", "--multi-model"
    )
    start_s: float = option(480, "Seconds within which a server must start.")


@dataclass(frozen=True)
class ReportOptions:
    """Where the verdicts go."""

    as_json: bool = flag("Print the verdicts as JSON.", "--json")
    junit: Path | None = option(None, "Write JUnit XML to this file.")
    html: Path | None = option(None, "Write an HTML report to this file.")

    def write(self, what: str, verdicts: Sequence[Verdict]) -> int:
        """Write the reports; return the exit code."""
        if self.junit:
            self.junit.write_text(report.format_junit(what, verdicts), encoding="utf-8")
        if self.html:
            self.html.write_text(report.format_html(what, verdicts), encoding="utf-8")
        tally = report.count(verdicts)
        if self.as_json:
            print(report.format_json(what, verdicts))
        else:
            print(", ".join(f"{number} {outcome}" for outcome, number in tally.items()))
        if tally["MUST violated"]:
            return 1
        unmade = [item.evidence for item in verdicts if MACHINE_FAILED in item.evidence]
        if unmade:
            message = f"{len(unmade)} of {len(verdicts)} checks could not be made: {unmade[0]}"
            raise PlatformError(message)
        return 0


@with_groups
def conform(
    container: ContainerOptions,
    choice: ChoiceOptions,
    data: DataOptions,
    sample: SampleOptions,
    reports: ReportOptions,
) -> int:
    """Check a container against SageMaker's contract; exit with 1 if a MUST is violated."""
    identities = conformance.choose(
        train=choice.train,
        serve=choice.serve,
        only=choice.only or (),
        is_url=choice.url is not None,
        has_model=sample.model is not None,
    )
    for path in filter(None, (reports.junit, reports.html)):
        path.open("a").close()  # a report that cannot be written is refused before the checks
    subject = _make_subject(container, choice.url, data, sample)
    subject.directory.mkdir(parents=True)
    what = choice.url or container.image or container.program
    terminal.say(f"{len(identities)} checks of {what}; logs and jobs: {subject.directory}")
    return reports.write(what, _run(subject, identities))


def _run(subject: Subject, identities: Sequence[str]) -> list[Verdict]:
    """Show each verdict when it is reached, with the progress: below them, or between them."""
    sessions = conformance.list_sessions(identities)
    progress = Progress([ids for ids, _ in sessions], identities)

    def show_session() -> None:
        progress.begin()
        if not terminal.is_live():
            terminal.say(progress.describe())

    def show_verdict(verdict: Verdict) -> None:
        progress.count(verdict)
        _show_verdict(verdict)

    with terminal.live_metrics(progress.describe):
        return conformance.run(subject, identities, show_verdict, show_session)


def _make_subject(
    container: ContainerOptions, url: str | None, data: DataOptions, sample: SampleOptions
) -> Subject:
    found = None
    if url is None:
        data, found = project.complete(data, container)
    request = sample.body
    if found is not None:
        request = request or found.request
    channels, body = _find_samples(data, request, url)
    for place in channels.values():
        check_presence(place)
    runner = None if url else container.make_runner()
    description = _describe_image(container.image)
    labels = (description or {}).get("Config", {}).get("Labels") or {}
    return Subject(
        runner=runner,
        directory=JOBS / "conform" / shorthand.make_name("conform"),
        address=conformance.parse_url(url) if url else None,
        image=description,
        can_protect=_can_protect(runner),
        channels=channels,
        hyperparameters=data.hyperparameters,
        environment=container.environment,
        metric_definitions=_define_metrics(container, sample, found)[:5],
        stop_at=sample.stop_at,
        model=next_steps.resolve_model(sample.model),
        body=body,
        content_type=sample.content_type,
        accept=sample.accept,
        is_multi_model=sample.multi_model or labels.get(contract.MULTI_MODEL_LABEL) == "true",
        waits=Waits(start_s=sample.start_s),
    )


def _find_samples(
    data: DataOptions, body: Path | None, url: str | None
) -> tuple[dict[str, str], bytes]:
    """Return channels and the body of a request: as given, or else handwritten digits."""
    channels = data.channels
    payload = request_files.read_bytes(body) if body else b""
    if not body or not (channels or url):
        handwritten = digits.write(JOBS / "digits")
        channels = channels or {
            "training": str(handwritten.training),
            "validation": str(handwritten.test),
        }
        if not body:
            payload = handwritten.test_rows()[0][1].encode()
    return channels, payload


def _define_metrics(
    container: ContainerOptions, sample: SampleOptions, found: project.Project | None
) -> list[dict[str, str]]:
    """Return the MetricDefinitions; a project does not log the bundled trainer's."""
    if found is not None and not sample.metric:
        return []
    return container.define_metrics(sample.metric)


def _can_protect(runner: Runner | None) -> bool:
    """Return whether directories can be read-only."""
    if isinstance(runner, ProcessRunner):
        return runner.is_private
    return runner is not None


def _describe_image(image: str | None) -> dict[str, Any] | None:
    if image is None:
        return None
    from local_test.runners import engine  # noqa: PLC0415 - the engine's client is slow to import

    return engine.describe_image(image)


def _show_verdict(verdict: Verdict) -> None:
    check = verdict.check
    style = {"pass": "green", "fail": "bold red"}.get(verdict.outcome, "dim")
    outcome = {"not applicable": "n/a"}.get(verdict.outcome, verdict.outcome)
    terminal.mark(style, f"{outcome:4}", f"{check.id:8} {check.severity:6} {check.claim}")
    if verdict.is_violation:
        terminal.say(f"       {verdict.evidence}")
        terminal.say(f"       remedy: {check.remedy}")
