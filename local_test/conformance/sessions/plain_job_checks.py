"""Checks of the plain training job: the three documented files, strings, and nothing else."""

import json
import re
from collections.abc import Iterator
from typing import Final

from container import contract
from local_test.conformance.catalog import Verdict, judge, skip, skip_all
from local_test.conformance.sessions.surroundings import leave_documented_files
from local_test.conformance.subject import RUBBISH, Sessions, Subject, Trial
from local_test.requests import hyperparameter_encodings

_NOT_EXECUTED: Final = re.compile(r"exit code: \d+ \((the interpreter of )?the entry point ")
"""What the harness says of a program that an engine started and the system did not execute."""
_CANARY: Final = "canary-5b1f0c7e"
_RESULT_IDS: Final = ("OUT-3a", "OUT-6a", "OUT-6b", "IMG-14a", "HPO-1a", "HPO-2a", "HP-7a")
PLAIN_IDS: Final = ("IMG-1a", "OUT-1a", "TF-1a", "TF-4a", "HP-1a", *_RESULT_IDS)


def check_plain(subject: Subject) -> Iterator[Verdict]:
    """A job with the three documented files and nothing else."""
    environment = {**subject.environment, "CONFORM_SECRET": _CANARY}
    trial = subject.train("plain", leave_documented_files, environment=environment)
    codes = set(trial.result.outcome.exit_codes.values())
    is_started = bool(codes) and not codes & {126, 127} and not _NOT_EXECUTED.search(trial.evidence)
    yield judge("IMG-1a", is_started, trial.evidence)
    if not is_started:
        yield from skip_all(PLAIN_IDS[1:], "training could not be started (IMG-1a)")
        return
    if not trial.is_good:
        yield from _find_out_why(subject, trial)
        return
    yield judge("OUT-1a", True, trial.evidence)
    yield judge("TF-1a", True, trial.evidence)
    yield judge("TF-4a", True, "it trained without any SM_ variable")
    yield judge("HP-1a", True, "it trained with only strings")
    yield from _judge_model(trial)
    yield _judge_timing(trial)
    yield _judge_metrics(subject, trial)
    yield from _judge_log(trial)


SESSIONS: Sessions = ((PLAIN_IDS, check_plain),)


def _find_out_why(subject: Subject, trial: Trial) -> Iterator[Verdict]:
    """The plain job failed: try what a container might need although it must not."""
    variables = {**subject.environment, **_toolkit_variables(subject)}
    attempts = {
        "TF-1a": ("undocumented files", subject.train("plain-files")),
        "TF-4a": (
            "SM_ variables",
            subject.train("plain-sm", leave_documented_files, environment=variables),
        ),
        "HP-1a": (
            "JSON numbers instead of strings",
            subject.train("plain-numbers", _write_numbers),
        ),
    }
    causes = [identity for identity, (_, attempt) in attempts.items() if attempt.is_good]
    if causes:
        yield skip("OUT-1a", f"it fails because of {causes[0]}: {trial.evidence}")
    else:
        yield judge("OUT-1a", False, trial.evidence)
    for identity, (what, attempt) in attempts.items():
        evidence = f"with {what}: {attempt.evidence}"
        if causes:
            yield judge(identity, not attempt.is_good, evidence)
        else:
            yield skip(identity, f"it fails in any case (OUT-1a), also {evidence}")
    yield from skip_all(_RESULT_IDS, "the plain job failed")


def _toolkit_variables(subject: Subject) -> dict[str, str]:
    """Return the variables that a toolkit would set in the job `plain-sm`."""
    root = "/opt/ml"
    if not subject.can_protect:
        root = str(subject.directory / "plain-sm/hosts/algo-1")
    channels = {f"SM_CHANNEL_{n.upper()}": f"{root}/input/data/{n}" for n in subject.channels}
    return channels | {
        "SM_MODEL_DIR": f"{root}/model",
        "SM_OUTPUT_DATA_DIR": f"{root}/output/data",
        "SM_HPS": json.dumps(dict(subject.hyperparameters)),
        "SM_HOSTS": '["algo-1"]',
        "SM_CURRENT_HOST": "algo-1",
    }


def _write_numbers(layout: contract.Layout) -> None:
    leave_documented_files(layout)
    values = json.loads(layout.hyperparameters.read_text(encoding="utf-8"))
    numbers = {name: hyperparameter_encodings.guess_value(text) for name, text in values.items()}
    layout.hyperparameters.write_text(json.dumps(numbers), encoding="utf-8")


def _judge_model(trial: Trial) -> Iterator[Verdict]:
    names = trial.model_files
    yield judge("OUT-3a", bool(names), f"{len(names)} files: {', '.join(names[:6])}")
    links = [finding for finding in trial.result.findings if "OUT-6" in finding]
    yield judge("OUT-6a", not links, "; ".join(links[:3]) or "only regular files and directories")
    rubbish = [name for name in names if RUBBISH.search(name)]
    found = ", ".join(rubbish[:5]) or "no hidden, temporary or cache files"
    yield judge("OUT-6b", not rubbish, found)


def _judge_timing(trial: Trial) -> Verdict:
    """Judge when the lines came: all at the end of a job that took a while means a buffer."""
    if not trial.lines:
        return judge("IMG-14a", False, "no line was logged")
    if len(trial.lines) == 1:
        return skip("IMG-14a", "a single line says nothing about buffering")
    first_s, _ = trial.lines[0]
    is_late = trial.runtime_s > 1 and first_s > 0.9 * trial.runtime_s
    evidence = f"the first line came after {first_s:.1f} s of {trial.runtime_s:.1f} s"
    return judge("IMG-14a", not is_late, evidence)


def _judge_metrics(subject: Subject, trial: Trial) -> Verdict:
    defined = [definition["Name"] for definition in subject.metric_definitions]
    if not defined:
        return skip("HPO-1a", "no metric definitions were given")
    found = {metric.name for metric in trial.result.metrics}
    missing = [name for name in defined if name not in found]
    evidence = f"found {len(found)} of {len(defined)}"
    if missing:
        evidence += f"; not: {', '.join(missing)}"
    return judge("HPO-1a", not missing, evidence)


def _judge_log(trial: Trial) -> Iterator[Verdict]:
    lines = [line for _, line in trial.lines]
    odd = [repr(line[:120]) for line in lines if "\r" in line or "\x1b" in line]
    yield judge("HPO-2a", not odd, "".join(odd[:1]) or f"none in {len(lines)} lines")
    leaks = [line[:120] for line in lines if _CANARY in line]
    evidence = "".join(leaks[:1]) or "the value of a variable was not found in the log"
    yield judge("HP-7a", not leaks, evidence)
