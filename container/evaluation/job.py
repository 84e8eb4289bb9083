"""The life of an evaluation, top to bottom: find artifact and test set, predict, measure, write.

As a processing job (PR-1 to PR-5) the inputs are named `model` and `test` (or `testing`) and the
output `evaluation`. Elsewhere the artifact lies in `model/`, the test set in the channel `test` or
`testing`, and the results go to
`output/evaluation` and `output/data`. Options on the command line override either.

Training measures its own test set with `evaluate`, so that a report looks the same whoever made it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tarfile
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import FrameType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from container import artifact, contract
from container.data import loading
from container.errors import PlatformError, UserError
from container.evaluation import classification as measures
from container.evaluation import report
from container.user_packages import archive

TEST_NAMES: Final = ("test", "testing")
IMAGES_PER_CALL: Final = (
    256  # few enough for a stop to be heard at once, enough to hide the cost of a call
)


class _Stopped(BaseException):
    """The platform asked for a stop (PR-4)."""


@dataclass(frozen=True)
class Places:
    """Where one evaluation reads and writes."""

    model: Path
    """Directory of an artifact, directory that holds one `model.tar.gz`, or such an archive."""
    test: Path
    outputs: tuple[Path, ...]


def output_dirs(layout: contract.Layout) -> tuple[Path, Path]:
    """Give the directories that take metrics and report outside of processing jobs; the first is uploaded (OUT-4)."""
    return layout.output_data, layout.output_data.with_name("evaluation")


def main(layout: contract.Layout, environ: Mapping[str, str], argv: Sequence[str]) -> int:  # noqa: ARG001
    """Run `evaluate` and give its exit code: 0 done, 1 failed, 2 wrong usage, 128 + signal when stopped."""
    options = _parse_options(argv)
    is_processing_job = layout.processing_job_config.exists()
    previous = {number: signal.signal(number, _stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        code, message = 0, _run(layout, options, is_processing_job=is_processing_job)
    except (UserError, PlatformError) as error:
        code, message = 1, f"{type(error).__name__}: {error}"
    except _Stopped as stop:
        number = stop.args[0]
        code, message = (
            128 + number,
            f"stopped by {signal.Signals(number).name} before the evaluation was done",
        )
    except Exception as error:  # noqa: BLE001 - the one place of this side where a bug is met
        traceback.print_exc()
        code, message = 1, f"this is a fault of the toolkit: {type(error).__name__}: {error}"
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    print(message, file=sys.stderr if code else sys.stdout, flush=True)
    if is_processing_job:
        _write_message(layout, message)
    return code


def evaluate(  # noqa: PLR0913 - the last three have defaults, all are given by name
    labeled: loading.LabeledImages,
    probabilities: NDArray[Any],
    *,
    output_dirs: Sequence[Path],
    history: Sequence[Mapping[str, float]] = (),
    facts: Mapping[str, str] | None = None,
    split: str = "test",
) -> dict[str, Any]:
    """Measure `probabilities` `[n, class] float` of `labeled`; write `metrics.json` and `report.html`; print a line.

    `history` has one mapping an epoch with names of `contract.METRIC_NAMES`; `facts` are shown on the page. `split`
    says what the images are; only those of `test` are printed as `test_...` metrics (HPO-2).

    Returns: what `metrics.compute` returns, with the `class` of each of `per_class`, `classes` and
    `split`; this is the content of `metrics.json`.

    Raises: UserError if there are no rows or the probabilities do not fit; PlatformError if a file
    cannot be written.
    """
    metrics = measures.compute(labeled.labels, probabilities, len(labeled.classes))
    for name, row in zip(labeled.classes, metrics["per_class"], strict=True):
        row["class"] = name
    metrics |= {"classes": list(labeled.classes), "split": split}
    page = report.render(
        labeled,
        probabilities,
        metrics,
        history=history,
        facts=facts,
        split=split,
    )
    text = json.dumps(metrics, allow_nan=False) + "\n"
    for directory in output_dirs:
        _write(directory / "metrics.json", text)
        _write(directory / "report.html", page)
    if split == "test":
        print(contract.format_metrics(_headline(metrics, "test_")), flush=True)
    return metrics


def _run(layout: contract.Layout, options: argparse.Namespace, *, is_processing_job: bool) -> str:
    from container import (
        predictor,  # training, which has its probabilities at hand, need not load LiteRT
    )

    places = (
        _find_processing_places(layout, options)
        if is_processing_job
        else _find_places(layout, options)
    )
    print(f"evaluating the artifact in {places.model} on {places.test}", flush=True)
    with ExitStack() as stack:
        found = artifact.load(_unpack(places.model, stack))
        manifest = found.manifest
        labeled = loading.load(
            places.test,
            label_column=str(manifest.hyperparameters.get("label_column", "label")),
            image_shape=manifest.input_shape,
            classes=manifest.classes,
            resize=str(manifest.hyperparameters.get("resize", "refuse")),
            role="test",
        )
        model = predictor.load(found, threads=len(os.sched_getaffinity(0)))
        blocks = range(0, len(labeled.images), IMAGES_PER_CALL)
        parts = [model.predict(labeled.images[start : start + IMAGES_PER_CALL]) for start in blocks]
    metrics = evaluate(
        labeled,
        np.concatenate([np.zeros((0, len(manifest.classes)), np.float32), *parts]),
        output_dirs=places.outputs,
        history=_load_history(layout, manifest.metrics),
        facts=_describe(manifest),
    )
    headline = contract.format_metrics(_headline(metrics, ""))
    where = " and ".join(str(directory) for directory in places.outputs)
    return f"{headline} {metrics['row_count']} images of {metrics['class_count']} classes; report in {where}"


def _parse_options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m container evaluate",
        description="Score an artifact on labeled images; write metrics.json and report.html.",
    )
    parser.add_argument(
        "--model-dir", type=Path, help="directory of the artifact, or a model.tar.gz"
    )
    parser.add_argument("--test-dir", type=Path, help="directory of the labeled images")
    parser.add_argument(
        "--output-dir", type=Path, help="directory for metrics.json and report.html"
    )
    return parser.parse_args(argv)


def _find_places(layout: contract.Layout, options: argparse.Namespace) -> Places:
    channels = [layout.channel(name) for name in TEST_NAMES]
    test = options.test_dir or next((channel for channel in channels if channel.is_dir()), None)
    if test is None:
        message = f"there is no test set: neither {channels[0]} nor {channels[1]} is a directory; --test-dir names another"
        raise UserError(message)
    outputs = (options.output_dir,) if options.output_dir else output_dirs(layout)
    return Places(options.model_dir or layout.model, test, outputs)


def _find_processing_places(layout: contract.Layout, options: argparse.Namespace) -> Places:
    """Read the places from the job's request; every missing one is told at once."""
    config = contract.load_json_object(layout.processing_job_config)
    inputs = _local_paths(layout, config.get("ProcessingInputs"), "Input")
    outputs = _local_paths(
        layout, (config.get("ProcessingOutputConfig") or {}).get("Outputs"), "Output"
    )
    model = options.model_dir or inputs.get("model")
    test = options.test_dir or next((inputs[name] for name in TEST_NAMES if name in inputs), None)
    output = options.output_dir or outputs.get("evaluation")
    faults = [
        f"no {kind} is named {wanted}; found {', '.join(sorted(there)) or 'none'}"
        for place, kind, wanted, there in (
            (model, "input", "'model'", inputs),
            (test, "input", "'test' or 'testing'", inputs),
            (output, "output", "'evaluation'", outputs),
        )
        if place is None
    ]
    if model is None or test is None or output is None:
        raise UserError.from_faults("the processing job lacks an input or output", faults)
    return Places(model, test, (output,))


def _local_paths(layout: contract.Layout, entries: Any, kind: str) -> dict[str, Path]:
    """Map the names of inputs or outputs to the directories that they are mounted at, all below `processing` (PR-2)."""
    paths = {}
    for entry in entries if isinstance(entries, list) else []:
        name = entry.get(f"{kind}Name")
        source = entry.get(f"S3{kind}") or entry.get("DatasetDefinition") or {}
        local = PurePosixPath(source.get("LocalPath") or f"/opt/ml/processing/{name}")
        if not local.is_relative_to("/opt/ml/processing") or ".." in local.parts:
            message = f"{kind.lower()} {name!r} has the local path {local}; only paths below /opt/ml/processing are mounted"
            raise PlatformError(message)
        paths[name] = layout.processing / local.relative_to("/opt/ml/processing")
    return paths


def _unpack(model: Path, stack: ExitStack) -> Path:
    """Give a directory that holds the artifact; a `model.tar.gz` is unpacked into scratch space until `stack` closes.

    Members other than files and directories, and paths that lead out, are refused (OUT-6, SEC-3).
    """
    archives = (
        [model]
        if model.is_file()
        else []
        if (model / artifact.MANIFEST_NAME).exists()
        else [*model.glob("*.tar.gz")]
    )
    if not archives:
        return model
    if len(archives) > 1:
        message = f"{model} holds several archives, one is expected: {', '.join(sorted(path.name for path in archives))}"
        raise UserError(message)
    scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="model-")))
    try:
        with tarfile.open(archives[0]) as packed:
            archive.unpack(packed, packed.getmembers(), scratch)
    except (tarfile.TarError, EOFError, ValueError) as error:
        message = f"{archives[0]} cannot be unpacked: {error}"
        raise UserError(message) from error
    except OSError as error:
        message = f"{archives[0]} cannot be unpacked into {scratch}: {error}"
        raise PlatformError(message) from error
    return scratch


def _load_history(layout: contract.Layout, recorded: Mapping[str, float]) -> list[dict[str, float]]:
    """Load the training job's history if it lies here and is this artifact's: one of its epochs gave its metrics."""
    try:
        history = json.loads((layout.output_data / "history.json").read_text(encoding="utf-8"))
        return history if any(_agrees(epoch, recorded) for epoch in history) else []
    except (OSError, ValueError, TypeError, AttributeError):
        return []


def _agrees(epoch: Mapping[str, float], recorded: Mapping[str, float]) -> bool:
    shared = (epoch.keys() & recorded.keys()) - {"epoch"}
    return bool(shared) and all(epoch[name] == recorded[name] for name in shared)


def _describe(manifest: artifact.Manifest) -> dict[str, str]:
    facts = {"Image": " by ".join(map(str, manifest.input_shape))}
    if manifest.training_time_s:
        facts["Training time"] = f"{manifest.training_time_s:.1f} s"
    return facts | {
        name.title().replace("flow", "Flow"): version for name, version in manifest.versions.items()
    }


def _headline(metrics: Mapping[str, Any], prefix: str) -> dict[str, float]:
    names = ("accuracy", "precision", "recall", "f1", "auc")
    return {prefix + name: metrics[name] for name in names if metrics[name] is not None}


def _write(path: Path, text: str) -> None:
    """Write a whole file or none; a class name that is no Unicode is written with replacement characters."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text.encode("utf-8", errors="replace"))
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        message = f"{path} cannot be written: {error}"
        raise PlatformError(message) from error


def _write_message(layout: contract.Layout, message: str) -> None:
    """Write what becomes `ExitMessage`: at most 1 KB of whole characters of UTF-8 (PR-3)."""
    text = message.encode("utf-8", errors="replace")[: contract.EXIT_MESSAGE_BYTES].decode(
        "utf-8", errors="ignore"
    )
    try:
        _write(layout.message, text)
    except PlatformError as error:
        print(error, file=sys.stderr, flush=True)


def _stop(number: int, _frame: FrameType | None) -> None:
    raise _Stopped(number)
