"""Killed and stopped training jobs resume to the same bits as without the stop (CK-1 to CK-4)."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from container import artifact

MakeJob = Callable[..., Path]
RunTrain = Callable[[Path], "subprocess.CompletedProcess[str]"]
EPOCHS = 40
# Early stopping, a running mean and the best epoch put all that a checkpoint can hold to the test.
SETTINGS = {
    "epochs": EPOCHS,
    "deterministic": "true",
    "checkpoint_interval_s": 0,
    "ema_decay": 0.9,
    "keep": "best",
    "early_stopping_epochs": 39,
    "validation_fraction": 0.1,
    "cutout_pixels": 2,
    "mixup_alpha": 0.2,
}


@pytest.fixture(scope="module")
def uninterrupted(digits_channels: Path, make_job: MakeJob, run_train: RunTrain) -> Path:
    """Run the job once from start to end; return its base directory."""
    base = make_job({"train": digits_channels / "train"}, **SETTINGS)
    (base / "checkpoints").mkdir()
    result = run_train(base)
    assert result.returncode == 0, result.stdout + result.stderr
    return base


def start(base: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "container", "train"],
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(base)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def list_checkpoints(base: Path) -> list[Path]:
    return sorted((base / "checkpoints").glob("checkpoint-*.npz"))


def assert_same_result(base: Path, expected: Path) -> None:
    newest, wanted = list_checkpoints(base)[-1], list_checkpoints(expected)[-1]
    assert newest.name == wanted.name
    with np.load(newest) as found, np.load(wanted) as reference:
        assert sorted(found.files) == sorted(reference.files)
        for name in set(found.files) - {"progress"}:
            assert np.array_equal(found[name], reference[name]), name
    assert (base / "model/model.tflite").read_bytes() == (
        expected / "model/model.tflite"
    ).read_bytes()
    histories = [
        json.loads((root / "output/data/history.json").read_text()) for root in (base, expected)
    ]
    for found_epoch, wanted_epoch in zip(*histories, strict=True):
        for name in (
            "epoch",
            "train_loss",
            "train_accuracy",
            "validation_loss",
            "validation_accuracy",
        ):
            assert found_epoch[name] == wanted_epoch[name]


def kill_and_restart(
    base: Path, kills: Sequence[Callable[[subprocess.Popen[str], Path], None]]
) -> str:
    """Start and kill the job several times, then let it end."""
    for kill in kills:
        process = start(base)
        kill(process, base)
        process.kill()
        process.communicate()
    process = start(base)
    output, _ = process.communicate(timeout=500)
    assert process.returncode == 0, output
    return output


def wait_from_its_first_checkpoint(seconds: float) -> Callable[[subprocess.Popen[str], Path], None]:
    def wait(process: subprocess.Popen[str], base: Path) -> None:
        known = list_checkpoints(base)
        while process.poll() is None and list_checkpoints(base) == known:
            time.sleep(0.005)
        time.sleep(seconds)  # the moment itself is what is tried

    return wait


def wait_from_its_start(seconds: float) -> Callable[[subprocess.Popen[str], Path], None]:
    return lambda _process, _base: time.sleep(seconds)  # the moment itself is what is tried


def wait_until_it_is_writing(process: subprocess.Popen[str], base: Path) -> None:
    """Leave the process halted between the first and the last byte of a checkpoint."""
    while process.poll() is None:
        if list((base / "checkpoints").glob(".checkpoint-*.partial")):
            process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            if list((base / "checkpoints").glob(".checkpoint-*.partial")):
                return
            process.send_signal(signal.SIGCONT)
    raise AssertionError("the job has ended, and was never seen to write")


def wait_until_it_writes_another(process: subprocess.Popen[str], base: Path) -> None:
    wait_from_its_first_checkpoint(0)(process, base)
    wait_until_it_is_writing(process, base)


def test_a_job_killed_inside_a_checkpoint_ends_in_the_same_bits_as_one_that_was_not(
    uninterrupted: Path, digits_channels: Path, make_job: MakeJob
) -> None:
    base = make_job({"train": digits_channels / "train"}, **SETTINGS)
    (base / "checkpoints").mkdir()
    output = kill_and_restart(base, [wait_until_it_writes_another])
    assert "resumed after" in output
    assert_same_result(base, uninterrupted)


@pytest.mark.slow
def test_a_job_killed_within_an_epoch_of_a_streamed_set_ends_in_the_same_bits(
    digits_channels: Path, make_job: MakeJob, run_train: RunTrain
) -> None:
    bases = []
    for _ in range(2):
        base = make_job({"train": digits_channels / "train"}, **SETTINGS, memory_budget_mb=0)
        (base / "checkpoints").mkdir()
        bases.append(base)
    result = run_train(bases[0])
    assert result.returncode == 0, result.stdout + result.stderr
    output = kill_and_restart(bases[1], [wait_from_its_first_checkpoint(0.1)])
    assert "resumed after" in output
    assert "larger than the memory budget" in output
    assert_same_result(bases[1], bases[0])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_a_job_killed_at_20_random_moments_ends_in_the_same_bits(
    seed: int, uninterrupted: Path, digits_channels: Path, make_job: MakeJob
) -> None:
    chance = random.Random(seed)  # noqa: S311 - moments, not secrets
    base = make_job({"train": digits_channels / "train"}, **SETTINGS)
    (base / "checkpoints").mkdir()
    kills = [
        wait_from_its_start(chance.uniform(0, 4)),
        wait_from_its_first_checkpoint(chance.uniform(0, 0.3)),
        wait_until_it_is_writing,
        wait_from_its_first_checkpoint(chance.uniform(0, 0.3)),
    ]
    kill_and_restart(base, chance.sample(kills, 4))
    assert_same_result(base, uninterrupted)


@pytest.mark.slow
def test_a_stopped_job_leaves_a_model_and_goes_on_to_the_same_bits(
    uninterrupted: Path, digits_channels: Path, make_job: MakeJob, run_train: RunTrain
) -> None:
    base = make_job(
        {"train": digits_channels / "train"}, **{**SETTINGS, "checkpoint_interval_s": 3600}
    )
    (base / "checkpoints").mkdir()
    process = start(base)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch=3;"):
            break
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert artifact.load(base / "model").manifest.classes == tuple(range(10))
    assert len(list_checkpoints(base)) == 1  # made by the stop
    result = run_train(base)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "resumed after" in result.stdout
    assert_same_result(base, uninterrupted)


def listens(process: subprocess.Popen[str]) -> bool:
    """Return whether a process has a handler for SIGTERM, which it lacks while Python starts."""
    caught = next(
        line
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines()
        if "SigCgt" in line
    )
    return bool(int(caught.split()[1], 16) & 1 << (signal.SIGTERM - 1))


def start_and_wait_until_it_listens(base: Path) -> subprocess.Popen[str]:
    process = start(base)
    while not listens(process):
        time.sleep(0.001)
    return process


@pytest.fixture(scope="module")
def startup_s(digits_channels: Path, make_job: MakeJob) -> float:
    """Measure how long a job takes to its first metrics, from where it can be stopped."""
    process = start_and_wait_until_it_listens(
        make_job({"train": digits_channels / "train"}, epochs=100_000)
    )
    started = time.monotonic()
    assert process.stdout is not None
    while not process.stdout.readline().startswith("epoch="):
        assert process.poll() is None
    process.kill()
    process.communicate()
    return time.monotonic() - started


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_a_job_stopped_at_any_moment_exits_0_with_a_model_and_a_checkpoint_of_that_moment(
    seed: int, startup_s: float, digits_channels: Path, make_job: MakeJob
) -> None:
    base = make_job({"train": digits_channels / "train"}, epochs=100_000)
    (base / "checkpoints").mkdir()
    process = start_and_wait_until_it_listens(base)
    longest_s = startup_s
    if seed % 2:  # half of the moments are in training, half while importing, loading or compiling
        assert process.stdout is not None
        while not process.stdout.readline().startswith("epoch="):
            assert process.poll() is None
        longest_s = 1.0
    # The moment itself is what is tested.
    time.sleep(random.Random(seed).uniform(0, longest_s))  # noqa: S311 - moments, not secrets
    asked, asked_monotonic = time.time(), time.monotonic()
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=100)
    elapsed_s = time.monotonic() - asked_monotonic
    print(f"stopped in {elapsed_s:.1f} s, load {os.getloadavg()[0]:.1f}: {output.splitlines()[-1]}")
    assert process.returncode == 0, output
    assert not (base / "output/failure").exists()
    # 10 s where nothing else is at work.
    assert elapsed_s <= 10 * max(1, os.getloadavg()[0] / (os.cpu_count() or 1))
    if "before the first step" in output:
        assert not list_checkpoints(base)
        assert not list((base / "model").glob("*"))
    else:
        assert list_checkpoints(base)[-1].stat().st_mtime >= asked
        assert artifact.load(base / "model").manifest.metrics["epoch"] >= 1


def test_a_torn_newest_checkpoint_falls_back_to_the_one_before(
    uninterrupted: Path, digits_channels: Path, make_job: MakeJob, run_train: RunTrain
) -> None:
    base = make_job({"train": digits_channels / "train"}, **SETTINGS)
    (base / "checkpoints").mkdir()
    older, newest = list_checkpoints(uninterrupted)
    (base / "checkpoints" / older.name).write_bytes(older.read_bytes())
    (base / "checkpoints" / newest.name).write_bytes(
        newest.read_bytes()[: newest.stat().st_size // 2]
    )
    result = run_train(base)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{newest.name} is damaged" in result.stdout
    assert_same_result(base, uninterrupted)


def test_a_checkpoint_of_another_job_is_refused_with_the_differences(
    uninterrupted: Path, digits_channels: Path, make_job: MakeJob, run_train: RunTrain
) -> None:
    base = make_job(
        {"train": digits_channels / "train"},
        **{**SETTINGS, "epochs": 7, "validation_fraction": 0.2},
    )
    (base / "checkpoints").symlink_to(uninterrupted / "checkpoints", target_is_directory=True)
    result = run_train(base)
    assert result.returncode == 1
    reason = (base / "output/failure").read_text()[:1024]
    assert "UserError" in reason
    assert f"epochs: {EPOCHS} there, 7 now" in reason
    assert "validation_fraction: 0.1 there, 0.2 now" in reason
    assert "resume=false" in reason
    assert len(list_checkpoints(uninterrupted)) == 2
