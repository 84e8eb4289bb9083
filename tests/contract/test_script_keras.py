"""A user's TensorFlow scripts run unchanged: training, and evaluation in a processing job."""

from __future__ import annotations

import json
import re
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from local_test.jobs.processing import ProcessingJob
from local_test.requests import shorthand
from local_test.requests.validation import validate
from local_test.runners.launcher import has_namespaces
from local_test.runners.process import ProcessRunner
from tests.contract.training_job import Job
from tests.support import USER_CODE

pytest.importorskip("sagemaker_training", reason="docker/requirements-scripts.txt is not installed")

SCRIPTS = USER_CODE / "keras_h5"


@pytest.mark.slow  # test_script.py and its siblings run scripts
@pytest.mark.skipif(not has_namespaces(), reason="the scripts need a private /opt/ml")
def test_a_keras_script_trains_and_its_evaluation_writes_metrics(tmp_path: Path) -> None:
    digits = load_digits()
    rows = np.column_stack([digits.target, digits.data])
    job = Job(tmp_path / "ml")
    for channel, part in (("training", rows[:1500]), ("testing", rows[1500:])):
        (job.base / "input/data" / channel).mkdir(parents=True)
        np.savetxt(job.base / "input/data" / channel / "digits.csv", part, "%d", ",")
    channels = {name: {"TrainingInputMode": "File"} for name in ("training", "testing")}
    job.configure("inputdataconfig", channels)
    # As an estimator with entry_point="train.py" sends them.
    hyperparameters = {
        "epochs": "20",
        "model_dir": '"s3://bucket/job/model"',
        "sagemaker_program": '"train.py"',
        "sagemaker_submit_directory": json.dumps(str(SCRIPTS)),
        "sagemaker_job_name": '"job"',
        "sagemaker_region": '"eu-west-1"',
        "sagemaker_container_log_level": "20",
    }
    job.configure("hyperparameters", hyperparameters)
    done = job.train()
    assert done.returncode == 0, done.stderr.decode()
    said = re.search(rb"epochs=20 test loss: [0-9.]+ test accuracy: ([0-9.]+)", done.stdout)
    assert said
    assert float(said[1]) > 0.85
    assert (job.base / "model/model.h5").is_file()

    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as archive:
        archive.add(job.base / "model/model.h5", "model.h5")
    request = shorthand.processing_request(
        name="evaluation",
        image="any",
        entrypoint=[sys.executable, "/opt/ml/processing/code/evaluate.py"],
        inputs={
            "model": str(tmp_path / "model.tar.gz"),
            "test": str(job.base / "input/data/testing"),
            "code": str(SCRIPTS / "evaluate.py"),
        },
        outputs={"evaluation": str(tmp_path / "evaluation")},
    )
    result = ProcessingJob(
        validate("CreateProcessingJob", request),
        ProcessRunner(["unused"], is_private=True),
        tmp_path / "processing",
    ).run()
    assert result.status == "Completed", result.failure
    metrics = json.loads((tmp_path / "evaluation/metrics.json").read_text())
    accuracy = metrics["multiclass_classification_metrics"]["accuracy"]["value"]
    assert accuracy == pytest.approx(float(said[1]), abs=1e-4)
