"""The examples on the API, as they stand: nothing in them knows that the AWS is local but the environment."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.contract.aws.client import ROOT, LocalAws

Digits = dict[str, tuple[NDArray[np.uint8], NDArray[np.int32]]]


@pytest.fixture(scope="module")
def real_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    """Give a local AWS whose images are this toolkit's own program."""
    local = LocalAws(tmp_path_factory.mktemp("walkthrough-aws"))
    local.up(program=shlex.join([sys.executable, "-m", "container"]))
    yield local
    local.run("down", "--force")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, digits: Digits) -> Path:
    directory = tmp_path_factory.mktemp("digits-csv")
    for part, (images, labels) in digits.items():
        rows = np.column_stack([labels, images.reshape(len(images), -1)])
        np.savetxt(directory / f"mnist_{part}.csv", rows, "%d", ",")
    return directory


def run(aws: LocalAws, python: str, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run an example in the environment that `env` prints, and in no other."""
    exports = dict(re.findall(r"^export (\w+)=(.*)$", aws.run("env").stdout, re.MULTILINE))
    environ = {"PATH": os.environ["PATH"], "HOME": str(aws.directory), **exports}
    command = [python, "-W", "ignore", str(ROOT / "examples" / script), *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=500, check=False)


@pytest.mark.timeout(520)
def test_the_walk_through_with_boto3_trains_tunes_transforms_and_predicts(real_aws: LocalAws, data: Path) -> None:
    options = ["--data", str(data), "--epochs", "2", "--tuning-jobs", "1"]
    done = run(real_aws, sys.executable, "mnist_walkthrough_boto3.py", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r"image \d+: \d is predicted as \d", done.stdout)) == 10
    right, rows = map(int, re.findall(r"(\d+) of (\d+) rows are right", done.stdout)[0])
    assert rows == 360
    assert right > 180  # two epochs teach little, and a wrong column would leave a tenth
    real_aws.wait(lambda: real_aws.sagemaker.list_endpoints()["Endpoints"], lambda endpoints: not endpoints)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("sdk", ["v2", "v3"])
def test_the_walk_through_with_the_sdk(real_aws: LocalAws, data: Path, tmp_path: Path, sdk: str) -> None:
    python = install_sdk(tmp_path / "sdk", sdk)
    done = run(real_aws, str(python), f"mnist_walkthrough_sdk_{sdk}.py", "--data", str(data))
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r"image \d+: \d is predicted as \d", done.stdout)) == 10


def install_sdk(directory: Path, sdk: str) -> Path:
    """Make an environment with one version of the SDK, whose packages clash with ours; give its Python."""
    venv.create(directory, with_pip=True)
    python = directory / "bin/python"
    lock = ROOT / f"tests/requirements-sdk-{sdk}.txt"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--require-hashes", "--requirement", str(lock)]
    subprocess.run(pip, check=True, timeout=600)
    return python


def test_the_pipeline_deploys_what_is_good_and_keeps_the_rest_out(aws: LocalAws, tmp_path: Path) -> None:
    for name in ("training", "testing"):
        aws.s3.put_object(Bucket=aws.bucket, Key=f"gate/{name}/rows.csv", Body=b"1,2\n")
    (tmp_path / "good").write_bytes(b"1,2,3")
    (tmp_path / "bad").write_bytes(b"refuse")

    def pipeline(body: str, accuracy: str) -> int:
        arguments = [
            *("--data", f"s3://{aws.bucket}/gate", "--group", "gate", "--endpoint", "gate"),
            *("--smoke-body", str(tmp_path / body), "--threshold", "0.9"),
            *("--hyperparameter", f"accuracy={accuracy}"),
        ]
        return run(aws, sys.executable, "pipeline_with_gate.py", *arguments).returncode

    assert pipeline("good", "0.95") == 0
    deployed = aws.sagemaker.describe_endpoint(EndpointName="gate")["EndpointConfigName"]
    assert pipeline("good", "0.8") == 3
    assert pipeline("bad", "0.99") == 4
    described = aws.sagemaker.describe_endpoint(EndpointName="gate")
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", deployed)
    packages = aws.sagemaker.list_model_packages(ModelPackageGroupName="gate")["ModelPackageSummaryList"]
    assert [package["ModelApprovalStatus"] for package in packages] == ["Approved", "Rejected", "Rejected"]
    answer = aws.runtime.invoke_endpoint(EndpointName="gate", Body=b"1,2,3")
    assert json.load(answer["Body"])["model"]["hyperparameters"]["accuracy"] == "0.95"
    aws.sagemaker.delete_endpoint(EndpointName="gate")
