"""An evaluation, top to bottom: find artifact and test set, predict, measure, write.

Training measures its own test set with `evaluate`, so that both write the same report.
"""

import argparse
import datetime as dt
import json
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from container import artifact, contract, machine, variables
from container.data import detection, loading
from container.data.formats.parts import LABEL_COLUMN, UTF_8, Options
from container.data.images import LabeledImages
from container.errors import PlatformError, UserError
from container.evaluation import classification, places, report, sharing
from container.evaluation.report import Background
from container.interrupts import repeat_when_lost
from container.user_packages.masking import hide_secrets

HEADLINE: Final = ("accuracy", "precision", "recall", "f1", "auc")
"""The measures that the log, the manifest and the exit message name."""
# Few enough that a stop is handled at once, enough to hide the cost of a call.
_IMAGES_PER_CALL: Final = 256


class _Stopped(BaseException):
    """The platform asked for a stop (PR-4)."""


def main(layout: contract.Layout, environ: Mapping[str, str], argv: Sequence[str]) -> int:
    """Run `evaluate`.

    Returns: the exit code: 0 done, 1 failed, 2 wrong usage, 128 + signal if stopped.
    """
    options = _parse_options(argv)
    is_processing_job = layout.processing_job_config.exists()
    previous = {number: signal.signal(number, _stop) for number in (signal.SIGINT, signal.SIGTERM)}
    repeat_when_lost(_Stopped, signal.SIGINT)
    try:
        code, message = 0, _run(layout, options, environ)
    except (UserError, PlatformError) as error:
        code, message = 1, f"{type(error).__name__}: {error}"
    except _Stopped as stop:
        number = stop.args[0]
        name = signal.Signals(number).name
        code, message = 128 + number, f"stopped by {name} before the evaluation was done"
    except Exception as error:  # noqa: BLE001 - the boundary: bugs are reported, too
        traceback.print_exc()
        code, message = 1, f"this is a bug in the toolkit: {type(error).__name__}: {error}"
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    print(message, file=sys.stderr if code else sys.stdout, flush=True)
    if is_processing_job:
        _write_exit_message(layout, message)
    return code


def evaluate(
    labeled: LabeledImages,
    probabilities: NDArray[Any],
    output_dirs: Sequence[Path],
    background: Background,
) -> dict[str, Any]:
    """Measure `probabilities` `[n, class] float`, and write `metrics.json` and `report.html`.

    Only measures of the split `test` are printed as `test_...` metrics (HPO-2).

    Returns: the content of `metrics.json`: what `classification.compute` returns, with the `class`
    of each entry of `per_class`, `classes` and `split`.

    Raises: UserError if there are no rows or the probabilities do not fit; PlatformError if a file
    cannot be written.
    """
    metrics = classification.compute(labeled.labels, probabilities, len(labeled.classes))
    for name, row in zip(labeled.classes, metrics["per_class"], strict=True):
        row["class"] = name
    metrics |= {"classes": list(labeled.classes), "split": background.split}
    date = dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
    page = report.render(labeled, probabilities, metrics, replace(background, date=date))
    text = json.dumps(metrics, allow_nan=False) + "\n"
    for directory in output_dirs:
        _write(directory / "metrics.json", text)
        _write(directory / "report.html", page)
    if background.split == "test":
        print(contract.format_metrics(pick_headline(metrics, "test_")), flush=True)
    return metrics


def pick_headline(metrics: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Return the headline measures that have a value, with `prefix` before their names."""
    return {prefix + name: metrics[name] for name in HEADLINE if metrics[name] is not None}


def _run(layout: contract.Layout, options: argparse.Namespace, environ: Mapping[str, str]) -> str:
    """Evaluate; return a summary."""
    for text in variables.find_misspelt(environ):
        print(f"warning: {text}", flush=True)
    where = places.find(layout, options)
    print(f"evaluating the artifact in {where.model} on {where.test}", flush=True)
    resources = contract.load_resources(layout.processing_resource_config)
    hosts = sharing.Hosts(resources, environ, is_sharded=where.is_sharded)
    with ExitStack() as stack:
        stack.enter_context(hosts.meeting())
        found = artifact.load(places.unpack_model(where.model, stack))
        labeled = _load_share(found.manifest, where, hosts)
        probabilities = _predict(found, labeled)
        if hosts.rank:
            hosts.send(labeled, probabilities)
            return (
                f"evaluated {len(labeled.labels)} images, this host's share; {hosts.names[0]} "
                "writes the report"
            )
        labeled, probabilities = hosts.merge(labeled, probabilities)
        history = _load_history(found.root)
        trained = found.manifest
        background = Background(history, _describe(trained), hide_secrets(trained.hyperparameters))
        metrics = evaluate(labeled, probabilities, where.outputs, background)
    headline = contract.format_metrics(pick_headline(metrics))
    return (
        f"{headline} {metrics['row_count']} images of {metrics['class_count']} classes; "
        f"report in {' and '.join(map(str, where.outputs))}"
    )


def _load_share(
    manifest: artifact.Manifest, where: places.Places, hosts: sharing.Hosts
) -> LabeledImages:
    reading = Options(
        label_column=str(manifest.hyperparameters.get("label_column", LABEL_COLUMN)),
        charset=str(manifest.hyperparameters.get("charset", UTF_8)),
        image_shape=manifest.input_shape,
        classes=manifest.classes,
        resize=manifest.resize,
        role="test",
    )
    if hosts.is_sharded and not (where.test.is_dir() and detection.list_files(where.test)):
        no_images = np.zeros((0, *manifest.input_shape), np.uint8)
        return LabeledImages(no_images, np.zeros(0, np.int32), manifest.classes)
    labeled = loading.load(where.test, reading)
    for line in labeled.notes:
        print(line, flush=True)
    return hosts.take_share(labeled)


def _predict(found: artifact.Artifact, labeled: LabeledImages) -> NDArray[np.float32]:
    """Return probabilities `[n, class] float32`."""
    from container import predictor  # loads LiteRT, which training does not need for `evaluate`

    model = predictor.load(found, threads=machine.count_threads())
    starts = range(0, len(labeled.images), _IMAGES_PER_CALL)
    parts = [model.predict(labeled.images[i : i + _IMAGES_PER_CALL]) for i in starts]
    return np.concatenate([np.zeros((0, len(found.manifest.classes)), np.float32), *parts])


def _parse_options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m container evaluate",
        description="Score an artifact on labeled images; write metrics.json and report.html.",
    )
    for name, text in (
        ("--model-dir", "directory of the artifact, or a model.tar.gz"),
        ("--test-dir", "directory of the labeled images"),
        ("--output-dir", "directory for metrics.json and report.html"),
    ):
        parser.add_argument(name, type=Path, help=text)
    return parser.parse_args(argv)


def _load_history(root: Path) -> list[dict[str, float]]:
    """Load the history that training put into the artifact; empty if it is absent or damaged."""
    try:
        history = json.loads((root / artifact.HISTORY_NAME).read_text(encoding="utf-8"))
        return [
            {name: value for name, value in epoch.items() if isinstance(value, (int, float))}
            for epoch in history
        ]
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return []


def _describe(manifest: artifact.Manifest) -> dict[str, str]:
    facts = {"Image": " by ".join(map(str, manifest.input_shape))}
    if "model" in manifest.hyperparameters:
        facts = {"Network": str(manifest.hyperparameters["model"]), **facts}
    if manifest.training_time_s:
        facts["Training time"] = f"{manifest.training_time_s:.1f} s"
    for name, version in manifest.versions.items():
        facts[name.title().replace("flow", "Flow")] = version
    return facts


def _write(path: Path, text: str) -> None:
    """Write a file atomically; class names that are not valid Unicode get replacement characters.

    Raises: PlatformError if that fails.
    """
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
        raise PlatformError(f"{path} cannot be written: {error}") from error


def _write_exit_message(layout: contract.Layout, message: str) -> None:
    """Write what becomes `ExitMessage`: at most 1 KB of complete UTF-8 characters (PR-3)."""
    start = message.encode("utf-8", errors="replace")[: contract.EXIT_MESSAGE_BYTES]
    try:
        _write(layout.message, start.decode("utf-8", errors="ignore"))
    except PlatformError as error:
        print(error, file=sys.stderr, flush=True)


def _stop(number: int, _frame: FrameType | None) -> None:
    raise _Stopped(number)
