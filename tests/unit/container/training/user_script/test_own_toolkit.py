"""What a program is given without `sagemaker-training`, compared with what the toolkit gives."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from container.training.user_script import own_toolkit
from tests.support import ROOT

GROUPS = [
    {"instance_group_name": "cpu", "instance_type": "ml.c5.xlarge", "hosts": ["a"]},
    {"instance_group_name": "gpu", "instance_type": "ml.p3.2xlarge", "hosts": ["b", "c"]},
]
ONE_HOST = {"current_host": "a", "hosts": ["a"]}
THREE_HOSTS = {
    "current_host": "b",
    "hosts": ["a", "b", "c"],
    "instance_groups": GROUPS,
    "current_instance_type": "ml.p3.2xlarge",
    "network_interface_name": "eth1",
}
CASES: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    (
        ONE_HOST,
        {"training": {"TrainingInputMode": "File"}},
        {"epochs": 3, "m": {"b": 1, "a": [1]}, "n": None, "": "e", "flag": True, "ü": "é €"},
    ),
    (
        THREE_HOSTS | {"current_group_name": "gpu", "topology": None},
        {"my-data": {}},
        {
            "sagemaker_mpi_enabled": True,
            "sagemaker_region": "eu-west-1",
            "sagemaker_job_name": "job-1",
            "sagemaker_container_log_level": 10,
            "sagemaker_submit_directory": "/source",
            "_tuning_objective_metric": "accuracy",
        },
    ),
    (
        THREE_HOSTS | {"current_group_name": "cpu", "topology": [{"host": "a"}]},
        {},
        {"sagemaker_distribution_instance_groups": ["gpu"], "sagemaker_custom": "x"},
    ),
]
# Both peers are asked in a process of their own: they change its environment.
ASK = """
import json, os, sys
from container.training.user_script import own_toolkit
from sagemaker_training import environment

class Given(dict):
    def __bool__(self):
        return True

def ask(make, case):
    toolkit = make(*map(Given, case))
    names = ("SAGEMAKER_JOB_NAME", "CURRENT_HOST", "SAGEMAKER_REGION")
    kept = {name: os.environ.pop(name) for name in names}
    return toolkit.to_cmd_args(), toolkit.to_env_vars(), kept

cases = json.loads(sys.argv[1])
peers = (environment.Environment, lambda *case: own_toolkit.Environment(*case, os.environ))
print(json.dumps([[ask(make, case) for make in peers] for case in cases]))
"""


def test_arguments_and_variables_are_the_toolkits(tmp_path: Path) -> None:
    pytest.importorskip("sagemaker_training", reason="requirements-scripts.txt is not installed")
    done = subprocess.run(
        [sys.executable, "-c", ASK, json.dumps(CASES)],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "SAGEMAKER_BASE_DIR": str(tmp_path),
            "SAGEMAKER_PROGRAM": "bin/train.py",
            "TRAINING_JOB_NAME": "job-1",
            "AWS_DEFAULT_REGION": "us-west-2",
        },
        capture_output=True,
        check=True,
    )
    for theirs, ours in json.loads(done.stdout):
        assert ours == theirs


def pack(path: Path, name: str) -> None:
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = 1
        archive.addfile(member, io.BytesIO(b"x"))


def test_code_comes_from_a_directory_an_archive_or_a_file(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "train.py").write_text("x")
    pack(tmp_path / "code.tar.gz", "train.py")
    for place in (source, tmp_path / "code.tar.gz", source / "train.py"):
        target = tmp_path / f"of-{place.name}"
        own_toolkit.download_and_extract(str(place), str(target))
        assert [path.name for path in target.iterdir()] == ["train.py"]


def test_an_archive_that_leaves_the_code_directory_is_refused(tmp_path: Path) -> None:
    pack(tmp_path / "code.tar.gz", "../train.py")
    with pytest.raises(ValueError, match="not a file or directory inside"):
        own_toolkit.download_and_extract(str(tmp_path / "code.tar.gz"), str(tmp_path / "code"))
    assert not (tmp_path / "train.py").exists()
