"""Checks of how jobs end: failures, stops, checkpoints, and a processing job after the training."""

import re
from collections.abc import Iterator
from typing import Final

from container import contract
from container.errors import UserError
from local_test import container_files
from local_test.conformance.catalog import Verdict, judge, skip, skip_all
from local_test.conformance.sessions import surroundings
from local_test.conformance.subject import RUBBISH, Sessions, Subject
from local_test.jobs.fleet import Outcome
from local_test.jobs.processing import ProcessingJob
from local_test.jobs.result import Listeners
from local_test.requests import shorthand
from local_test.requests.validation import validate
from local_test.runners import faults

FAILURE_BYTES: Final = 65_536
_TRACEBACK: Final = "Traceback (most recent call last)"
FAILURE_IDS: Final = ("OUT-1b", "OUT-2a", "OUT-2b")


def check_failure(subject: Subject) -> Iterator[Verdict]:
    """A job whose channels are empty."""
    trial = subject.train("no-data", surroundings.empty_channels)
    layout = contract.Layout(trial.result.directory / "hosts/algo-1")
    base, findings = trial.result.directory, list[str]()
    place = str(layout.failure.relative_to(base))
    start = container_files.read_start(base, place, FAILURE_BYTES, findings)
    text = start.decode("utf-8", errors="replace")
    has_traceback = trial.seconds_after(re.escape(_TRACEBACK)) is not None
    hides_failure = trial.is_good and has_traceback and not trial.model_files
    if trial.is_good and not text and not hides_failure:
        reason = "it completes with empty channels, so it could not be made to fail"
        yield from skip_all(FAILURE_IDS, reason)
        return
    evidence = f"with empty channels: {trial.evidence}"
    if hides_failure:
        evidence += "; its log has a traceback, and there is no model"
    yield judge("OUT-1b", not trial.is_good, evidence)
    beginning = f"begins {text[:80]!r}"
    found = f"output/failure {beginning}" if text else _look_for_failure(layout, findings)
    yield judge("OUT-2a", bool(text.strip()), found)
    if text.strip():
        yield judge("OUT-2b", not text.lstrip().startswith("Traceback"), f"it {beginning}")
    else:
        yield skip("OUT-2b", "the container wrote no failure file")


def _look_for_failure(layout: contract.Layout, findings: list[str]) -> str:
    if findings:
        return findings[0]
    paths = [path for path in layout.base.rglob("failure*") if path != layout.failure]
    if not paths:
        return "no output/failure"
    names = ", ".join(str(path.relative_to(layout.base)) for path in paths)
    return f"no output/failure; found {names} instead"


STOP_IDS: Final = ("OUT-8a", "OUT-8b", "OUT-7a")
_PROMPT_S: Final = 1.0  # a process that handles SIGTERM and ends this soon has heard it
_OWN_END: Final = 0.8
"""A stop that takes this share of the time that the job would have needed was none."""


def check_stop(subject: Subject) -> Iterator[Verdict]:
    """A stop while it trains."""
    trial = subject.train("stop", faults=[faults.parse(f"stop@/{subject.stop_at}/")])
    outcome = trial.result.outcome
    if not outcome.stop_reason or outcome.stop_took_s is None:
        reason = f"the job was over before it was stopped: {trial.evidence}"
        yield from skip_all(STOP_IDS, reason)
        return
    code = outcome.exit_codes["algo-1"]
    evidence = f"it exited {outcome.stop_took_s:.1f} s after SIGTERM with exit code {code}"
    own_end = _find_own_end(subject, outcome)
    if own_end:
        yield from skip_all(STOP_IDS, f"{evidence}; {own_end}")
        return
    deafness = _find_deafness(subject, outcome)
    yield judge("OUT-8a", not deafness, deafness or evidence)
    if deafness:
        yield from skip_all(STOP_IDS[1:], "it did not hear the stop (OUT-8a)")
        return
    yield judge("OUT-8b", code == 0, evidence)
    model = trial.result.directory / "hosts/algo-1/model"
    names = [name for name in trial.model_files if (model / name).is_file()]
    is_usable = bool(names) and not any(RUBBISH.search(name) for name in names)
    yield judge("OUT-7a", is_usable, f"{len(names)} files: {', '.join(names[:5])}")


def _find_deafness(subject: Subject, outcome: Outcome) -> str:
    """Return why a container did not hear the stop, or an empty string."""
    if outcome.was_killed:
        return f"SIGKILL was needed after {subject.waits.training_stop_s:g} s"
    if not outcome.deaf_hosts:
        return ""
    return (
        "its first process does not handle SIGTERM, and process 1 of a container has no default "
        f"action; it ended {outcome.stop_took_s:.1f} s later by itself"
    )


def _find_own_end(subject: Subject, outcome: Outcome) -> str:
    """Return why it is unknown whether the job was stopped or came to its end, or nothing."""
    took_s = outcome.stop_took_s or 0.0
    if outcome.was_killed or outcome.deaf_hosts or took_s < _PROMPT_S:
        return ""
    undisturbed_s = subject.train("not-stopped").seconds_after(subject.stop_at)
    if undisturbed_s is None or took_s < _OWN_END * undisturbed_s:
        return ""
    return (
        f"undisturbed it ends {undisturbed_s:.1f} s after the line at which it was stopped, so "
        "it is unknown whether it heard: use hyperparameters of a longer job"
    )


CHECKPOINT_IDS: Final = ("CK-1a", "CK-2a")


def check_checkpoints(subject: Subject) -> Iterator[Verdict]:
    """A job with checkpoints, and the same job again with what it stored."""
    store = subject.directory / "checkpoint-store"
    first = subject.train("checkpoints", checkpoints=str(store))
    files = [path for path in store.rglob("*") if path.is_file()]
    if not files:
        yield judge("CK-1a", False, f"nothing was stored below {store.name}; {first.evidence}")
        yield skip("CK-2a", "the container wrote no checkpoints")
        return
    second = subject.train("resumed", checkpoints=str(store))
    stored = f"{len(files)} files were stored"
    resumed = f"{stored}; with them again: {second.evidence}"
    yield judge("CK-1a", first.is_good and second.is_good, resumed)
    torn = [path.name for path in files if path.stat().st_size == 0 or RUBBISH.search(path.name)]
    evidence = f"half-written: {', '.join(torn[:5])}" if torn else f"{stored}, all of them complete"
    yield judge("CK-2a", not torn, evidence)


PROCESSING_IDS: Final = ("IMG-2a",)


def check_processing(subject: Subject) -> Iterator[Verdict]:
    """A processing job without arguments, on the model and the data of the training job."""
    assert subject.runner is not None  # noqa: S101 - sessions of training have one
    inputs = {}
    if subject.trained_model.exists():
        inputs["model"] = str(subject.trained_model)
    channels = subject.channels
    data = channels.get("test") or channels.get("testing") or next(iter(channels.values()), None)
    if data:
        inputs["test"] = data
    request = shorthand.processing_request(
        name="processing",
        image="image",
        inputs=inputs,
        outputs={"evaluation": str(subject.directory / "evaluation")},
        environment=subject.environment,
        max_runtime_s=subject.waits.job_s,
    )
    lines = ["no output"]
    listeners = Listeners(on_line=lambda _, line: lines.append(line))
    directory = subject.directory / "processing"
    try:
        valid = validate("CreateProcessingJob", request)
    except UserError as error:  # such as a variable that is too long for this kind of job
        yield skip("IMG-2a", f"not run: {error}")
        return
    result = ProcessingJob(valid, subject.runner, directory, listeners).run()
    last = [line for line in lines if line.strip()][-1][:160]
    evidence = f"{result.status} {result.failure}; last line: {last}"
    yield judge("IMG-2a", result.status == "Completed", evidence)


SESSIONS: Sessions = (
    (FAILURE_IDS, check_failure),
    (STOP_IDS, check_stop),
    (CHECKPOINT_IDS, check_checkpoints),
    (PROCESSING_IDS, check_processing),
)
