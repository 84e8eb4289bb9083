"""`python -m container evaluate` as a process: both layouts, files, message, exit codes, stop."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as oracle

from container import artifact, predictor
from container.data import loading
from container.data.formats.parts import Options
from tests.support import free_port

HEADLINE = ("accuracy", "precision", "recall", "f1", "auc")


def run_evaluate(base: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "container", "evaluate", *options],
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(base)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def load_strict_json(path: Path) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    return value


def make_processing_job(base: Path, model: Path, test: Path, **changes: object) -> Path:
    """Lay out a processing job as the platform does (PR-1, PR-2), with the model as an archive."""
    (base / "config").mkdir(parents=True)
    for name in ("model", "test", "evaluation"):
        (base / "processing" / name).mkdir(parents=True)
    with tarfile.open(base / "processing/model/model.tar.gz", "w:gz") as archive:
        for path in sorted(model.iterdir()):
            archive.add(path, path.name)
    shutil.copytree(test, base / "processing/test", dirs_exist_ok=True)
    request = {
        "ProcessingJobName": "evaluation-of-digits",
        "ProcessingInputs": [
            {
                "InputName": name,
                "AppManaged": False,
                "S3Input": {
                    "LocalPath": f"/opt/ml/processing/{name}",
                    "S3Uri": f"s3://bucket/{name}",
                },
            }
            for name in ("model", "test")
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": "evaluation",
                    "AppManaged": False,
                    "S3Output": {
                        "LocalPath": "/opt/ml/processing/evaluation",
                        "S3Uri": "s3://bucket/evaluation",
                    },
                }
            ]
        },
    }
    (base / "config/processingjobconfig.json").write_text(
        json.dumps({**request, **changes}), encoding="utf-8"
    )
    return base


@pytest.fixture
def local_job(digits_job: Path, tmp_path: Path) -> Path:
    """Return a new tree with the trained artifact, the test channel and the job's output data."""
    base = tmp_path / "opt ml"
    for name in ("model", "input/data/test", "output/data"):
        shutil.copytree(digits_job / name, base / name)
    return base


@pytest.fixture
def processing_job(digits_job: Path, tmp_path: Path) -> Callable[..., Path]:
    def make(**changes: object) -> Path:
        base = tmp_path / "processing job"
        return make_processing_job(
            base, digits_job / "model", digits_job / "input/data/test", **changes
        )

    return make


def test_evaluate_measures_the_test_channel_as_scikit_learn_does(local_job: Path) -> None:
    shutil.rmtree(local_job / "output")
    done = run_evaluate(local_job)

    assert done.returncode == 0, done.stderr
    measured = load_strict_json(local_job / "output/evaluation/metrics.json")
    found = artifact.load(local_job / "model")
    test = loading.load(local_job / "input/data/test", Options(classes=found.manifest.classes))
    scores = predictor.load(found).predict(test.images)
    predictions = scores.argmax(axis=1)
    expected = [
        oracle.accuracy_score(test.labels, predictions),
        *oracle.precision_recall_fscore_support(test.labels, predictions, average="macro")[:3],
        np.mean(
            [oracle.roc_auc_score(test.labels == index, scores[:, index]) for index in range(10)]
        ),
    ]
    assert [measured[name] for name in HEADLINE] == pytest.approx(expected, abs=1e-12)
    assert (
        measured["confusion_matrix"] == oracle.confusion_matrix(test.labels, predictions).tolist()
    )
    assert measured["classes"] == [row["class"] for row in measured["per_class"]] == list(range(10))


def test_evaluate_leaves_metrics_and_report_in_both_outputs_and_nothing_else(
    local_job: Path,
) -> None:
    shutil.rmtree(local_job / "output")
    assert run_evaluate(local_job).returncode == 0
    for name in ("evaluation", "data"):
        assert sorted(path.name for path in (local_job / "output" / name).iterdir()) == [
            "metrics.json",
            "report.html",
        ]
    for name in ("metrics.json", "report.html"):
        assert (local_job / "output/data" / name).read_bytes() == (
            local_job / "output/evaluation" / name
        ).read_bytes()


def test_evaluate_prints_the_test_metrics_in_the_published_form(local_job: Path) -> None:
    output = run_evaluate(local_job).stdout
    measured = load_strict_json(local_job / "output/evaluation/metrics.json")
    for name in HEADLINE:
        printed = re.findall(rf"\btest_{name}=([0-9.eE+-]+);", output)
        assert [float(value) for value in printed] == [pytest.approx(measured[name], rel=1e-5)]


def test_evaluate_after_training_gives_the_training_jobs_numbers_and_keeps_its_curves(
    local_job: Path,
) -> None:
    trained = load_strict_json(local_job / "output/data/metrics.json")
    assert run_evaluate(local_job).returncode == 0
    assert (
        load_strict_json(local_job / "output/evaluation/metrics.json")["accuracy"]
        == trained["accuracy"]
    )
    assert "Learning curves" in (local_job / "output/data/report.html").read_text(encoding="utf-8")


def test_evaluate_has_curves_hyperparameters_and_date_from_the_artifact_only(
    local_job: Path,
) -> None:
    (local_job / "output/data/history.json").unlink()
    assert run_evaluate(local_job).returncode == 0
    page = (local_job / "output/data/report.html").read_text(encoding="utf-8")
    assert "Learning curves" in page
    assert "<dt>learning_rate</dt>" in page
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", page)
    (local_job / "model/history.json").write_text("[1]")
    assert run_evaluate(local_job).returncode == 0
    page = (local_job / "output/data/report.html").read_text(encoding="utf-8")
    assert "Learning curves" not in page


def test_evaluate_counts_the_files_that_it_passes_over(local_job: Path) -> None:
    (local_job / "input/data/test/notes.txt").write_text("a note")
    completed = run_evaluate(local_job)
    assert completed.returncode == 0, completed.stderr
    assert "passed over 1 file:\n  notes.txt\n" in completed.stdout


def test_evaluate_of_one_row_has_no_auc_and_no_warning(local_job: Path) -> None:
    path, other = sorted((local_job / "input/data/test").iterdir())
    other.unlink()
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    done = run_evaluate(local_job)
    assert done.returncode == 0
    assert "Warning" not in done.stderr
    measured = load_strict_json(local_job / "output/data/metrics.json")
    assert measured["row_count"] == 1
    assert measured["auc"] is None
    assert "test_auc" not in done.stdout


def test_evaluate_takes_its_directories_from_the_command_line(
    digits_job: Path, tmp_path: Path
) -> None:
    done = run_evaluate(
        tmp_path / "nowhere",
        *(
            "--model-dir",
            str(digits_job / "model"),
            "--test-dir",
            str(digits_job / "input/data/test"),
        ),
        *("--output-dir", str(tmp_path / "results")),
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == [
        "metrics.json",
        "report.html",
    ]


def test_evaluate_without_a_test_set_says_where_it_looked(local_job: Path) -> None:
    shutil.rmtree(local_job / "input")
    done = run_evaluate(local_job)
    assert done.returncode == 1
    assert str(local_job / "input/data/testing") in done.stderr
    assert "Traceback" not in done.stderr


def test_evaluate_without_an_artifact_says_what_it_found(local_job: Path) -> None:
    (local_job / "model/model.json").unlink()
    done = run_evaluate(local_job)
    assert done.returncode == 1
    assert "model.json" in done.stderr
    assert "model.keras" in done.stderr


def test_evaluate_names_file_row_and_column_of_a_bad_pixel(local_job: Path) -> None:
    path = min((local_job / "input/data/test").iterdir())
    rows = list(csv.reader(path.read_text().splitlines()))
    rows[5][9] = "256"
    path.write_text("".join(",".join(row) + "\n" for row in rows))
    done = run_evaluate(local_job)
    assert done.returncode == 1
    assert path.name in done.stderr
    assert "row 6, column 10" in done.stderr


def test_evaluate_that_cannot_write_its_output_fails_and_says_so(
    local_job: Path, tmp_path: Path
) -> None:
    blocked = tmp_path / "a file"
    blocked.touch()
    done = run_evaluate(local_job, "--output-dir", str(blocked / "results"))
    assert done.returncode == 1
    assert "cannot be written" in done.stderr


def test_evaluate_refuses_an_unknown_option_as_wrong_usage(tmp_path: Path) -> None:
    done = run_evaluate(tmp_path, "--modeldir", "x")
    assert done.returncode == 2
    assert "--model-dir" in done.stderr


def test_processing_job_scores_the_archive_and_writes_output_and_message(
    processing_job: Callable[..., Path],
) -> None:
    base = processing_job()
    done = subprocess.run(  # no argument at all: IMG-2
        [sys.executable, "-m", "container"],
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(base)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results = base / "processing/evaluation"
    assert sorted(path.name for path in results.iterdir()) == ["metrics.json", "report.html"]
    message = (base / "output/message").read_text(encoding="utf-8")
    accuracy = load_strict_json(results / "metrics.json")["accuracy"]
    assert float(re.findall(r"\baccuracy=([0-9.]+);", message)[0]) == pytest.approx(
        accuracy, rel=1e-5
    )
    assert not (base / "output/data").exists()


HOSTS = ["127.0.0.1", "127.0.0.2"]


def start_hosts(
    bases: Sequence[Path], port: int, names: Sequence[str] = HOSTS
) -> list[subprocess.Popen[str]]:
    """Start hosts of a processing job of two, which are two addresses of this machine."""
    processes = []
    for base, name in zip(bases, names, strict=True):
        resources = {"current_host": name, "hosts": HOSTS}
        (base / "config/resourceconfig.json").write_text(json.dumps(resources))
        environ = {**os.environ, "SAGEMAKER_BASE_DIR": str(base), "MASTER_PORT": str(port)}
        command = [sys.executable, "-m", "container", "evaluate"]
        options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        processes.append(subprocess.Popen(command, env=environ, text=True, **options))
    return processes


def finish_hosts(processes: Sequence[subprocess.Popen[str]]) -> tuple[list[int], list[str]]:
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    return [process.returncode for process in processes], outputs


@pytest.mark.parametrize("distribution", ["FullyReplicated", "ShardedByS3Key"])
def test_hosts_of_a_processing_job_share_the_test_set_and_one_writes_the_report(
    processing_job: Callable[..., Path], tmp_path: Path, distribution: str
) -> None:
    alone = processing_job()
    request = json.loads((alone / "config/processingjobconfig.json").read_text())
    for item in request["ProcessingInputs"]:
        item["S3Input"]["S3DataDistributionType"] = distribution
    (alone / "config/processingjobconfig.json").write_text(json.dumps(request))
    bases = [shutil.copytree(alone, tmp_path / name) for name in ("first", "second")]
    if distribution == "ShardedByS3Key":  # with fewer files than hosts
        shutil.rmtree(bases[1] / "processing/test")

    codes, outputs = finish_hosts(start_hosts(bases, free_port()))

    assert codes == [0, 0], outputs
    assert run_evaluate(alone).returncode == 0
    written = [base / "processing/evaluation" for base in (alone, *bases)]
    assert list(written[2].iterdir()) == []
    expected, merged = (load_strict_json(path / "metrics.json") for path in written[:2])
    assert merged["row_count"] == expected["row_count"]
    assert merged["confusion_matrix"] == expected["confusion_matrix"]
    assert merged["auc"] == pytest.approx(expected["auc"], abs=1e-6)
    pages = [(path / "report.html").read_text() for path in written[:2]]
    assert pages[0].count("data:image/png") == pages[1].count("data:image/png")
    places = [re.findall('alt="[^"]*(/processing/test/[^"]*)"', page) for page in pages]
    assert sorted(places[0]) == sorted(places[1]) != []
    share = {"FullyReplicated": expected["row_count"] // 2, "ShardedByS3Key": 0}[distribution]
    assert f"evaluated {share} images, this host's share" in outputs[1]


def test_a_host_that_fails_ends_the_evaluation_on_all(
    processing_job: Callable[..., Path], tmp_path: Path
) -> None:
    base = processing_job()
    bases = [shutil.copytree(base, tmp_path / name) for name in ("first", "second")]
    shutil.rmtree(bases[1] / "processing/test")  # not sharded: its test set is missing

    codes, _ = finish_hosts(start_hosts(bases, free_port()))

    assert codes == [1, 1]
    messages = [(base / "output/message").read_text(encoding="utf-8") for base in bases]
    assert messages[0].startswith("UserError: 127.0.0.2: ")
    assert "processing/test" in messages[1]


def test_a_host_that_is_killed_ends_the_evaluation_with_its_name(
    processing_job: Callable[..., Path], tmp_path: Path
) -> None:
    base = processing_job()
    port = free_port()
    bases = [shutil.copytree(base, tmp_path / name) for name in ("first", "second")]
    with socket.create_server(("127.0.0.1", port)) as first:
        processes = start_hosts(bases[1:], port, names=HOSTS[1:])
        first.accept()[0].close()
    codes, _ = finish_hosts(processes)

    assert codes == [1]
    assert "127.0.0.1, which writes the report" in (bases[1] / "output/message").read_text()


def test_processing_job_finds_its_inputs_wherever_they_are_mounted(
    processing_job: Callable[..., Path],
) -> None:
    base = processing_job(
        ProcessingInputs=[
            {"InputName": "model", "S3Input": {"LocalPath": "/opt/ml/processing/input/a"}},
            {"InputName": "testing", "S3Input": {"LocalPath": "/opt/ml/processing/input/b"}},
        ],
    )
    (base / "processing/input").mkdir()
    (base / "processing/model").rename(base / "processing/input/a")
    (base / "processing/test").rename(base / "processing/input/b")
    done = run_evaluate(base)
    assert done.returncode == 0, done.stderr


def test_processing_job_names_every_missing_input_and_output_in_its_message(
    processing_job: Callable[..., Path],
) -> None:
    base = processing_job(
        ProcessingInputs=[{"InputName": "modell"}], ProcessingOutputConfig={"Outputs": []}
    )
    done = run_evaluate(base)
    assert done.returncode == 1
    message = (base / "output/message").read_text(encoding="utf-8")
    for part in ("'model'", "'test'", "'evaluation'", "modell"):
        assert part in message


def test_processing_job_refuses_a_local_path_outside_of_processing(
    processing_job: Callable[..., Path],
) -> None:
    base = processing_job(
        ProcessingInputs=[
            {"InputName": "model", "S3Input": {"LocalPath": "/opt/ml/processing/../../../etc"}}
        ]
    )
    assert run_evaluate(base).returncode == 1
    assert "only paths below /opt/ml/processing" in (base / "output/message").read_text(
        encoding="utf-8"
    )


def test_message_is_at_most_a_kilobyte_of_whole_characters(
    processing_job: Callable[..., Path],
) -> None:
    base = processing_job(ProcessingInputs=[{"InputName": "\N{EURO SIGN}" * 700}])
    assert run_evaluate(base).returncode == 1
    content = (base / "output/message").read_bytes()
    assert 1020 < len(content) <= 1024
    assert "\N{EURO SIGN}" in content.decode("utf-8")


def write_archive(path: Path, member: tarfile.TarInfo) -> None:
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(member, io.BytesIO(b"x" * member.size))


@pytest.mark.parametrize(
    ("name", "kind", "target"),
    [
        ("../escaped", tarfile.REGTYPE, ""),
        ("model.json", tarfile.SYMTYPE, "/etc/passwd"),
        ("model.json", tarfile.LNKTYPE, "elsewhere"),
        ("model.json", tarfile.FIFOTYPE, ""),
        ("model.json", tarfile.CHRTYPE, ""),
    ],
    ids=["path that leads out", "symbolic link", "hard link", "pipe", "device"],
)
def test_archive_with_a_hostile_member_is_refused(
    processing_job: Callable[..., Path], name: str, kind: bytes, target: str
) -> None:
    base = processing_job()
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size = kind, target, 3 if kind == tarfile.REGTYPE else 0
    write_archive(base / "processing/model/model.tar.gz", member)
    done = run_evaluate(base)
    assert done.returncode == 1
    assert "model.tar.gz" in (base / "output/message").read_text(encoding="utf-8")
    assert name in done.stderr
    assert "Traceback" not in done.stderr


def test_archive_that_ends_early_is_refused(processing_job: Callable[..., Path]) -> None:
    base = processing_job()
    archive = base / "processing/model/model.tar.gz"
    archive.write_bytes(archive.read_bytes()[:5000])
    done = run_evaluate(base)
    assert done.returncode == 1
    assert "cannot be unpacked" in (base / "output/message").read_text(encoding="utf-8")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stop_ends_the_job_at_once_with_a_message_and_no_metrics(
    processing_job: Callable[..., Path], number: signal.Signals
) -> None:
    base = processing_job()
    archive = base / "processing/model/model.tar.gz"
    archive.unlink()
    os.mkfifo(archive)  # nobody writes to it: the job waits there for ever
    with subprocess.Popen(
        [sys.executable, "-m", "container"],
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(base)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("evaluating")
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert number.name in (base / "output/message").read_text(encoding="utf-8")
    assert list((base / "processing/evaluation").iterdir()) == []
