"""Checks of training: one plain job, one with everything that the platform may add, and one for each mishap.

Each session is a generator of verdicts; it names beforehand what it judges.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from typing import Any, Final

from container import contract
from local_test.conformance.catalog import Verdict, judge, skip
from local_test.conformance.subject import Subject, Trial
from local_test.data import storage
from local_test.jobs.processing import ProcessingJob
from local_test.jobs.result import Listeners
from local_test.requests import shorthand
from local_test.requests.validation import validate
from local_test.runners import faults

_DOCUMENTED: Final = {"hyperparameters.json", "inputdataconfig.json", "resourceconfig.json"}
_EXTRAS: Final = {
    "sagemaker_job_name": '"a-job"',
    "sagemaker_region": '"us-east-1"',
    "sagemaker_container_log_level": "20",
    "_tuning_objective_metric": "validation:accuracy",
    "model_dir": '"s3://bucket/prefix/model"',
}
_SM_VARIABLES: Final = (
    "SM_MODEL_DIR",
    "SM_OUTPUT_DATA_DIR",
    "SM_HPS",
    "SM_HOSTS",
    "SM_CURRENT_HOST",
)
_CANARY: Final = "canary-5b1f0c7e"
_RUBBISH = re.compile(r"(^|/)(\.[^/]*|__pycache__|[^/]*\.(tmp|partial|pyc|lock))(/|$)")

_Amend = Callable[[contract.Layout], None]

PLAIN_IDS: Final = (
    "IMG-1a", "OUT-1a", "TF-1a", "TF-4a", "HP-1a", "OUT-3a", "OUT-6a", "OUT-6b", "IMG-14a", "HPO-1a", "HPO-2a", "HP-7a",
)  # fmt: skip


def check_plain(subject: Subject) -> Iterator[Verdict]:
    """A job with the three documented files and nothing else."""
    environment = {**subject.environment, "CONFORM_SECRET": _CANARY}
    trial = subject.train("plain", _leave_documented_files, environment=environment)
    codes = trial.result.outcome.exit_codes
    is_started = (
        bool(codes) and not set(codes.values()) & {126, 127} and "exec" not in trial.result.failure
    )
    yield judge("IMG-1a", is_started, trial.evidence)
    if not trial.is_good:
        yield from _find_out_why(subject, trial)
        return
    yield judge("OUT-1a", True, trial.evidence)
    yield judge("TF-1a", True, trial.evidence)
    yield judge("TF-4a", True, "it trained without any SM_ variable")
    yield judge("HP-1a", True, "it trained with strings alone")
    yield from _judge_model(trial)
    yield _judge_timing(trial)
    defined = [definition["Name"] for definition in subject.metric_definitions]
    found = {metric.name for metric in trial.result.metrics}
    missing = [name for name in defined if name not in found]
    yield (
        judge(
            "HPO-1a",
            not missing,
            f"found {len(found)} of {len(defined)}"
            + (f"; not: {', '.join(missing)}" if missing else ""),
        )
        if defined
        else skip("HPO-1a", "no metric definitions were given")
    )
    odd = [line for _, line in trial.lines if "\r" in line or "\x1b" in line]
    yield judge(
        "HPO-2a", not odd, repr(odd[0][:120]) if odd else f"none in {len(trial.lines)} lines"
    )
    leaks = [line for _, line in trial.lines if _CANARY in line]
    yield judge(
        "HP-7a",
        not leaks,
        leaks[0][:120] if leaks else "a variable's value was not found in the log",
    )


def _find_out_why(subject: Subject, trial: Trial) -> Iterator[Verdict]:
    """The plain job failed: try what a container might wrongly need."""
    root = (
        str(subject.directory / "plain-sm/hosts/algo-1") if not subject.can_protect else "/opt/ml"
    )
    values = (
        f"{root}/model",
        f"{root}/output/data",
        json.dumps(dict(subject.hyperparameters)),
        '["algo-1"]',
        "algo-1",
    )
    variables = dict(zip(_SM_VARIABLES, values, strict=True))
    variables |= {
        f"SM_CHANNEL_{name.upper()}": f"{root}/input/data/{name}" for name in subject.channels
    }
    with_variables = subject.train(
        "plain-sm", _leave_documented_files, environment={**subject.environment, **variables}
    )
    with_numbers = subject.train("plain-numbers", _write_numbers)
    yield judge("OUT-1a", False, trial.evidence)
    yield judge("TF-1a", with_variables.is_good or with_numbers.is_good, trial.evidence)
    yield judge(
        "TF-4a", not with_variables.is_good, f"with SM_ variables: {with_variables.evidence}"
    )
    yield judge(
        "HP-1a",
        not with_numbers.is_good,
        f"with JSON numbers instead of strings: {with_numbers.evidence}",
    )
    for identity in ("OUT-3a", "OUT-6a", "OUT-6b", "IMG-14a", "HPO-1a", "HPO-2a", "HP-7a"):
        yield skip(identity, "the plain job failed")


def _leave_documented_files(layout: contract.Layout) -> None:
    for path in layout.hyperparameters.parent.iterdir():
        if path.name not in _DOCUMENTED:
            path.unlink()
    for path in layout.input_data.glob("*-manifest"):
        path.unlink()


def _write_numbers(layout: contract.Layout) -> None:
    _leave_documented_files(layout)
    values = json.loads(layout.hyperparameters.read_text(encoding="utf-8"))
    numbers = {name: shorthand.guess_value(text) for name, text in values.items()}
    layout.hyperparameters.write_text(json.dumps(numbers), encoding="utf-8")


def _judge_model(trial: Trial) -> Iterator[Verdict]:
    model = trial.result.directory / "hosts/algo-1/model"
    names = sorted(str(path.relative_to(model)) for path in model.rglob("*"))
    yield judge("OUT-3a", bool(names), f"{len(names)} files: {', '.join(names[:6])}")
    links = [finding for finding in trial.result.findings if "OUT-6" in finding]
    yield judge("OUT-6a", not links, "; ".join(links[:3]) or "regular files and directories alone")
    rubbish = [name for name in names if _RUBBISH.search(name)]
    yield judge(
        "OUT-6b", not rubbish, ", ".join(rubbish[:5]) or "no hidden, temporary or cache files"
    )


def _judge_timing(trial: Trial) -> Verdict:
    """Lines that all come at the very end of a job that took a while were held back by a buffer."""
    if not trial.lines:
        return judge("IMG-14a", False, "not one line was logged")
    if len(trial.lines) == 1:
        return skip("IMG-14a", "a single line says nothing about buffering")
    first_s = trial.lines[0][0] - trial.started
    is_late = trial.runtime_s > 1 and first_s > 0.9 * trial.runtime_s
    return judge(
        "IMG-14a",
        not is_late,
        f"the first line came after {first_s:.1f} s of {trial.runtime_s:.1f} s",
    )


SURROUNDINGS_IDS: Final = ("TF-2a", "TF-3a", "HP-5a", "IN-1a", "IN-11a", "DS-2a")


def check_surroundings(subject: Subject) -> Iterator[Verdict]:
    """Everything at once that the platform may add; what fails is then looked for one by one."""
    together = subject.train(
        "surroundings", _add_all, hyperparameters={**subject.hyperparameters, **_EXTRAS}
    )
    if together.is_good:
        for identity in SURROUNDINGS_IDS:
            yield judge(identity, True, f"a job with all of them: {together.evidence}")
        return
    amendments: dict[str, _Amend] = {
        "TF-2a": _remove_manifests,
        "TF-3a": _remove_decoys,
        "IN-1a": _add_channel,
        "IN-11a": _add_hidden_files,
        "DS-2a": _rename_interface,
    }
    for identity in SURROUNDINGS_IDS:
        extras = _EXTRAS if identity == "HP-5a" else {}
        trial = subject.train(
            f"alone-{identity.lower()}",
            _after(
                _keep_all if identity in ("TF-2a", "TF-3a") else _leave_documented_files,
                amendments.get(identity),
            ),
            hyperparameters={**subject.hyperparameters, **extras},
        )
        yield judge(identity, trial.is_good, trial.evidence)


def _keep_all(_: contract.Layout) -> None:
    pass


def _after(first: _Amend, then: _Amend | None) -> _Amend:
    def amend(layout: contract.Layout) -> None:
        first(layout)
        if then is not None:
            then(layout)

    return amend


def _remove_manifests(layout: contract.Layout) -> None:
    for path in layout.input_data.glob("*-manifest"):
        path.unlink()


def _remove_decoys(layout: contract.Layout) -> None:
    for path in layout.hyperparameters.parent.iterdir():
        if path.name not in _DOCUMENTED:
            path.unlink()


def _add_all(layout: contract.Layout) -> None:
    _add_channel(layout)
    _add_hidden_files(layout)
    _rename_interface(layout)


def _add_channel(layout: contract.Layout) -> None:
    """Add a channel of a name that no program expects, in the configuration and on disk."""
    config = json.loads(layout.input_data_config.read_text(encoding="utf-8"))
    name = "my-notes.v2"
    config[name] = {
        "TrainingInputMode": "File",
        "S3DistributionType": "FullyReplicated",
        "RecordWrapperType": "None",
    }
    layout.input_data_config.write_text(json.dumps(config), encoding="utf-8")
    layout.channel(name).mkdir(exist_ok=True)
    (layout.channel(name) / "README.txt").write_text("notes, no data\n", encoding="utf-8")


def _add_hidden_files(layout: contract.Layout) -> None:
    for name in json.loads(layout.input_data_config.read_text(encoding="utf-8")):
        if layout.channel(name).is_dir():
            (layout.channel(name) / ".hidden").write_bytes(b"\x00\xff not data")
            (layout.channel(name) / "_SUCCESS").write_bytes(b"")


def _edit_resources(layout: contract.Layout, edit: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads(layout.resource_config.read_text(encoding="utf-8"))
    edit(document)
    layout.resource_config.write_text(json.dumps(document), encoding="utf-8")


def _rename_interface(layout: contract.Layout) -> None:
    _edit_resources(layout, lambda document: document.update(network_interface_name="ethwe"))


ENCODING_IDS: Final = ("HP-2a", "HP-2b", "HP-6a")


def check_encodings(subject: Subject) -> Iterator[Verdict]:
    """The same hyperparameters as SDKs and tuners write them."""
    for identity, encoding in (("HP-2a", "sdk2-json"), ("HP-2b", "sdk2-str"), ("HP-6a", "tuner")):
        values = shorthand.encode_hyperparameters(subject.hyperparameters, encoding)
        if values == dict(subject.hyperparameters):
            yield skip(identity, "no hyperparameter looks different in this encoding")
            continue
        trial = subject.train(f"encoding-{encoding}", hyperparameters=values)
        yield judge(identity, trial.is_good, f"{values}: {trial.evidence}")


HOSTS_IDS: Final = ("DS-1a", "OUT-5a", "IN-7a", "DS-3a")


def check_hosts(subject: Subject) -> Iterator[Verdict]:
    """Two hosts, a host without data, and a host of another name."""
    # Hosts that are processes have ports of their own only when isolated; who needs a way out is no
    # breach of DS-1.
    is_isolated = subject.image is None and subject.can_protect
    trial = subject.train("two-hosts", instance_count=2, is_isolated=is_isolated)
    if is_isolated and not trial.is_good:
        is_isolated = False
        trial = subject.train("two-open-hosts", instance_count=2)
    yield judge("DS-1a", trial.is_good, trial.evidence)
    clashes = [finding for finding in trial.result.findings if "OUT-5" in finding]
    yield judge("OUT-5a", not clashes, "; ".join(clashes[:3]) or "no name was written twice")
    empty = subject.train(
        "empty-shard", _empty_second_host, instance_count=2, is_isolated=is_isolated
    )
    yield (
        judge("IN-7a", empty.is_good, empty.evidence)
        if trial.is_good
        else skip("IN-7a", "it does not train on two hosts")
    )
    renamed = subject.train("renamed-host", _rename_host)
    yield judge("DS-3a", renamed.is_good, f"with current_host node-b: {renamed.evidence}")


def _empty_second_host(layout: contract.Layout) -> None:
    if layout.base.name == "algo-2":
        _empty_channels(layout)


def _empty_channels(layout: contract.Layout) -> None:
    for path in layout.input_data.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
            path.mkdir()


def _rename_host(layout: contract.Layout) -> None:
    def rename(document: dict[str, Any]) -> None:
        document.update(current_host="node-b", hosts=["node-b"])
        document["instance_groups"][0]["hosts"] = ["node-b"]

    _edit_resources(layout, rename)


FAILURE_IDS: Final = ("OUT-1b", "OUT-2a", "OUT-2b")


def check_failure(subject: Subject) -> Iterator[Verdict]:
    """A job whose channels are empty."""
    trial = subject.train("no-data", _empty_channels)
    layout = contract.Layout(trial.result.directory / "hosts/algo-1")
    text = (
        layout.failure.read_text(encoding="utf-8", errors="replace")
        if layout.failure.is_file()
        else ""
    )
    if trial.is_good and not text:
        for identity in FAILURE_IDS:
            yield skip(
                identity, "it completes with empty channels: no failure could be brought about"
            )
        return
    yield judge("OUT-1b", not trial.is_good, f"with empty channels: {trial.evidence}")
    elsewhere = [
        str(path.relative_to(layout.base))
        for path in layout.base.rglob("failure*")
        if path != layout.failure
    ]
    hint = f"; found {', '.join(elsewhere)} instead" if elsewhere else ""
    yield judge(
        "OUT-2a",
        bool(text.strip()),
        f"output/failure begins {text[:80]!r}" if text else f"no output/failure{hint}",
    )
    if not text.strip():
        yield skip("OUT-2b", "there is no failure file")
        return
    yield judge("OUT-2b", not text.lstrip().startswith("Traceback"), f"it begins {text[:80]!r}")


PROTECTION_IDS: Final = ("IN-3a", "SEC-1a", "TRIP-24a")


def check_protection(subject: Subject) -> Iterator[Verdict]:
    """Read-only channels, no network, and a model directory that cannot be written."""
    if subject.can_protect:
        fast = subject.train("fast-file", input_mode="FastFile")
        yield judge("IN-3a", fast.is_good, fast.evidence)
        isolated = subject.train("isolated", is_isolated=True)
        yield judge("SEC-1a", isolated.is_good, isolated.evidence)
    else:
        yield skip("IN-3a", "this machine cannot make channels read-only for a program")
        yield skip("SEC-1a", "this machine cannot shut a program's network off")
    unwritable = subject.train("unwritable-model", _block_model)
    yield judge("TRIP-24a", not unwritable.is_good, unwritable.evidence)


def _block_model(layout: contract.Layout) -> None:
    layout.model.rmdir()
    layout.model.write_text("a file stands where the directory is expected", encoding="utf-8")


STOP_IDS: Final = ("OUT-8a", "OUT-8b", "OUT-7a")


def check_stop(subject: Subject) -> Iterator[Verdict]:
    """A stop order while it trains."""
    trial = subject.train("stop", faults=[faults.parse(f"stop@/{subject.stop_at}/")])
    outcome = trial.result.outcome
    if not outcome.stop_reason or outcome.stop_took_s is None:
        for identity in STOP_IDS:
            yield skip(identity, f"the job was over before it was stopped: {trial.evidence}")
        return
    code = outcome.exit_codes["algo-1"]
    evidence = f"it ended {outcome.stop_took_s:.1f} s after SIGTERM with exit code {code}"
    killed = f"SIGKILL was needed after {subject.waits.training_stop_s:g} s"
    yield judge("OUT-8a", not outcome.was_killed, killed if outcome.was_killed else evidence)
    yield judge("OUT-8b", code == 0, evidence)
    model = trial.result.directory / "hosts/algo-1/model"
    names = sorted(str(path.relative_to(model)) for path in model.rglob("*") if path.is_file())
    rubbish = [name for name in names if _RUBBISH.search(name)]
    yield judge(
        "OUT-7a",
        bool(names) and not rubbish,
        f"{len(names)} files: {', '.join(names[:5])}" if names else "no model",
    )


CHECKPOINT_IDS: Final = ("CK-1a", "CK-2a")


def check_checkpoints(subject: Subject) -> Iterator[Verdict]:
    """A job with checkpoints, and the same job again with what it stored."""
    place = subject.directory / "checkpoint-store"
    first = subject.train("checkpoints", checkpoints=str(place))
    files = [path for path in place.rglob("*") if path.is_file()] if place.is_dir() else []
    if not files:
        yield judge("CK-1a", False, f"nothing was stored below {place.name}; {first.evidence}")
        yield skip("CK-2a", "there are no checkpoints")
        return
    second = subject.train("resumed", checkpoints=str(place))
    stored = f"{len(files)} files were stored"
    yield judge(
        "CK-1a", first.is_good and second.is_good, f"{stored}; with them again: {second.evidence}"
    )
    torn = [path.name for path in files if path.stat().st_size == 0 or _RUBBISH.search(path.name)]
    yield judge(
        "CK-2a",
        not torn,
        f"half-written: {', '.join(torn[:5])}" if torn else f"{stored}, none of a temporary name",
    )


PROCESSING_IDS: Final = ("IMG-2a",)


def check_processing(subject: Subject) -> Iterator[Verdict]:
    """A processing job without arguments, on the model and the data of the training job."""
    assert subject.runner is not None  # noqa: S101 - sessions of training have one
    archive = subject.directory / "out/plain/output/model.tar.gz"
    inputs = {"model": str(archive)} if archive.exists() else {}
    data = (
        subject.channels.get("test")
        or subject.channels.get("testing")
        or next(iter(subject.channels.values()), None)
    )
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
    lines: list[str] = []
    listeners = Listeners(on_line=lambda _, line: lines.append(line))
    result = ProcessingJob(
        validate("CreateProcessingJob", request),
        subject.runner,
        subject.directory / "processing",
        listeners,
    ).run()
    last = next((line for line in reversed(lines) if line.strip()), "no output")[:160]
    yield judge(
        "IMG-2a",
        result.status == "Completed",
        f"{result.status} {result.failure}; last line: {last}",
    )


def find_model(subject: Subject) -> str | None:
    """Give the archive that the plain job stored, if it did."""
    archive = subject.directory / "out/plain/output/model.tar.gz"
    return storage.to_uri(archive) if archive.exists() else None


Session = Callable[[Subject], Iterator[Verdict]]

SESSIONS: Final[tuple[tuple[tuple[str, ...], Session], ...]] = (
    (PLAIN_IDS, check_plain),
    (SURROUNDINGS_IDS, check_surroundings),
    (ENCODING_IDS, check_encodings),
    (HOSTS_IDS, check_hosts),
    (FAILURE_IDS, check_failure),
    (PROTECTION_IDS, check_protection),
    (STOP_IDS, check_stop),
    (CHECKPOINT_IDS, check_checkpoints),
    (PROCESSING_IDS, check_processing),
)
