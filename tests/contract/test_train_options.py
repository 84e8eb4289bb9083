"""`python -m container train` with options: fine-tuning, limits, gates, augmentation."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from container import artifact, contract, predictor
from container.data.gathering import run_ahead
from container.errors import PlatformError, UserError
from container.serving import plan, server_settings
from container.serving.exchange import Request
from container.serving.service import Service
from container.training.input import channels
from container.training.network import networks
from container.training.settings import Settings
from container.training.step import device

MakeJob = Callable[..., Path]
RunTrain = Callable[[Path], "subprocess.CompletedProcess[str]"]


@pytest.mark.slow
def test_a_frozen_trunk_keeps_the_pretrained_weights_and_learns_new_classes(
    digits_job: Path, digits_channels: Path, make_job: MakeJob, run_train: RunTrain, tmp_path: Path
) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    for name in ("train", "test"):  # even and odd are classes that the old model has never heard of
        for path in (digits_channels / name).iterdir():
            header, *rows = path.read_text().splitlines()
            named = [("odd" if int(row[0]) % 2 else "even") + row[1:] for row in rows]
            (tmp_path / name / path.name).write_text("\n".join([header, *named]))
    channels = {
        "train": tmp_path / "train",
        "test": tmp_path / "test",
        "pretrained": digits_job / "model",
    }
    base = make_job(channels, epochs=20, freeze_trunk="true")
    result = run_train(base)
    assert result.returncode == 0, result.stdout + result.stderr
    manifest = artifact.load(base / "model").manifest
    assert manifest.classes == ("even", "odd")
    assert manifest.metrics["test_accuracy"] >= 0.95
    program = (
        "import sys, keras, numpy as np\n"
        "old, new = (keras.models.load_model(path) for path in sys.argv[1:])\n"
        "for layer in old.layers:\n"
        "    same = all(np.array_equal(a, b) for a, b in "
        "zip(layer.get_weights(), new.get_layer(layer.name).get_weights()))\n"
        "    assert same or layer.name == 'logits', layer.name\n"
    )
    paths = [str(root / "model/model.keras") for root in (digits_job, base)]
    subprocess.run(
        [sys.executable, "-c", program, *paths], check=True, timeout=300, capture_output=True
    )


@pytest.mark.slow
def test_every_option_at_once_trains_and_the_best_epoch_is_kept(
    digits_channels: Path, make_job: MakeJob, run_train: RunTrain
) -> None:
    base = make_job(
        {name: digits_channels / name for name in ("train", "test")},
        model="resnet20",
        epochs=6,
        optimizer="lamb",
        learning_rate=0.02,
        schedule="cosine",
        clip_norm=1.0,
        ema_decay=0.9,
        class_weights="balanced",
        flip="false",
        shift_pixels=1,
        cutout_pixels=2,
        mixup_alpha=0.1,
        validation_fraction=0.2,
        keep="best",
        precision="float32",
        towers=3,
        memory_budget_mb=0,
    )
    result = run_train(base)
    assert result.returncode == 0, result.stdout + result.stderr
    history = json.loads((base / "output/data/history.json").read_text())
    manifest = artifact.load(base / "model").manifest
    best = max(entry["validation_accuracy"] for entry in history)
    assert manifest.metrics["validation_accuracy"] == best
    assert manifest.metrics["test_accuracy"] >= 0.6


def test_max_runtime_s_ends_the_training_and_a_model_below_the_quality_gate_fails_the_job(
    digits_channels: Path, make_job: MakeJob, run_train: RunTrain
) -> None:
    """The model that there is when the time is over is evaluated, and its report kept."""
    channels = {name: digits_channels / name for name in ("train", "test")}
    gates = {"min_accuracy": 0.9999, "min_f1": 0.9999}
    base = make_job(channels, epochs=100_000, max_runtime_s=1, **gates)
    result = run_train(base)
    assert result.returncode == 1
    assert "max_runtime_s is over" in result.stdout
    reason = (base / "output/failure").read_text()[:1024]
    assert re.search(r"test_accuracy 0\.\d{4} is below min_accuracy=0\.9999", reason)
    assert re.search(r"test_f1 0\.\d{4} is below min_f1=0\.9999", reason)
    assert (base / "output/data/report.html").exists()
    assert not (base / "model/model.json").exists()


def test_a_loss_that_is_not_finite_fails_the_job_and_names_the_step(
    digits_channels: Path, make_job: MakeJob, run_train: RunTrain
) -> None:
    base = make_job(
        {"train": digits_channels / "train"},
        optimizer="sgd",
        learning_rate=100,
        weight_decay=10,
        warmup_fraction=0,
    )
    result = run_train(base)
    assert result.returncode == 1, result.stdout
    reason = (base / "output/failure").read_text()[:1024]
    assert re.search(
        r"UserError: the loss is not finite in step \d+ of epoch \d+; learning_rate=100", reason
    )


def test_early_stopping_ends_the_training_when_nothing_improves(
    digits_channels: Path, make_job: MakeJob, run_train: RunTrain
) -> None:
    base = make_job(
        {"train": digits_channels / "train"},
        epochs=200,
        learning_rate=1e-8,
        early_stopping_epochs=3,
        monitor="validation_accuracy",
        validation_fraction=0.2,
        shift_pixels=0,
    )
    result = run_train(base)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "validation_accuracy has not improved since epoch" in result.stdout
    assert len(json.loads((base / "output/data/history.json").read_text())) < 200


def test_what_cannot_work_is_refused_with_the_reason(
    digits_channels: Path, make_job: MakeJob
) -> None:
    with pytest.raises(PlatformError, match="require_gpu=true, but TensorFlow sees no GPU"):
        device.choose(Settings(require_gpu=True), (8, 8, 1))
    with pytest.raises(UserError, match=r"model=resnet50 needs images of at least 32x32.*8x8x1"):
        networks.build("resnet50", (8, 8, 1), 10, (0.5, 0.3))
    layout = contract.Layout(make_job({"train": digits_channels / "train"}))
    found = channels.find(layout, contract.load_training_config(layout))
    with pytest.raises(UserError, match=r"min_accuracy and .* or set validation_fraction"):
        channels.load(layout, found, Settings(min_accuracy=0.5), run_ahead, print)


@pytest.mark.slow  # kills and resumes compare bits, too
def test_two_deterministic_runs_give_the_same_bits(
    digits_channels: Path, make_job: MakeJob, run_train: RunTrain
) -> None:
    models = []
    for _ in range(2):
        base = make_job({"train": digits_channels / "train"}, epochs=5, deterministic="true")
        result = run_train(base)
        assert result.returncode == 0, result.stdout + result.stderr
        models.append((base / "model/model.tflite").read_bytes())
    assert models[0] == models[1]
    assert len(np.frombuffer(models[0], np.uint8)) > 10_000


def test_int8_export_of_a_set_larger_than_its_memory_budget_leaves_a_model_and_tells_its_cost(
    digits_channels: Path,
    make_job: MakeJob,
    run_train: RunTrain,
    digits: dict[str, tuple[np.ndarray, np.ndarray]],
) -> None:
    channels = {name: digits_channels / name for name in ("train", "test")}
    base = make_job(channels, epochs=10, int8_export="true", memory_budget_mb=0)

    result = run_train(base)

    assert result.returncode == 0, result.stdout + result.stderr
    assert "larger than the memory budget" in result.stdout
    found = artifact.load(base / "model")
    images, labels = digits["test"]
    accuracy = (
        predictor.load(found, runtime="litert_int8").predict(images).argmax(1) == labels
    ).mean()
    served = found.manifest.metrics["test_accuracy"]
    words = f"{accuracy:.4f} on test images, {served:.4f} without"
    assert f"accuracy of the eight-bit model: {words}" in result.stdout
    assert f"int8_test_accuracy={accuracy:.6g};" in result.stdout
    assert found.manifest.metrics["int8_test_accuracy"] == pytest.approx(accuracy)
    assert accuracy > 0.9
    assert words in (base / "output/data/report.html").read_text()
    settings = server_settings.parse({"BYO_RUNTIME": "litert_int8"})
    application = Service(plan.make(contract.Layout(base), {}, settings, 1)).load()
    row = ",".join(map(str, images[0].ravel()))
    request = Request(row.encode(), {"content-type": "text/csv", "accept": "text/csv"})
    answer = np.array(application.invoke(request).body.split(b","), np.float32)
    assert (
        np.abs(answer - predictor.load(found, runtime="litert_int8").predict(images[:1])).max()
        <= 1e-6
    )
