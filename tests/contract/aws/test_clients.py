"""Containers as clients of the local AWS, which they find by environment variables."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.contract.aws.client import LocalAws, training_request, wait_for_status

READER = """
import base64, email.utils, hmac, os, urllib.request
path, date, variables = "/BUCKET/data/a.csv", email.utils.formatdate(usegmt=True), os.environ
text = f"GET\\n\\n\\n{date}\\n{path}".encode()
signed = hmac.digest(variables["AWS_SECRET_ACCESS_KEY"].encode(), text, "sha1")
signature = f"AWS {variables['AWS_ACCESS_KEY_ID']}:{base64.b64encode(signed).decode()}"
headers = {"Authorization": signature, "Date": date}
request = urllib.request.Request(variables["AWS_ENDPOINT_URL"] + path, headers=headers)
print(urllib.request.urlopen(request, timeout=20).read().decode(), flush=True)
"""


def check_reading_s3(aws: LocalAws, python: str) -> None:
    """Check that a container reads an object of S3, and that an isolated one does not."""
    aws.s3.put_object(
        Bucket=aws.bucket, Key="data/read.py", Body=READER.replace("BUCKET", aws.bucket).encode()
    )
    statuses = {}
    for name, is_isolated in (("reader", False), ("isolated", True)):
        request = training_request(aws, name, EnableNetworkIsolation=is_isolated)
        request["AlgorithmSpecification"] |= {
            "ContainerEntrypoint": [python, "/opt/ml/input/data/training/read.py"]
        }
        aws.sagemaker.create_training_job(**request)
        statuses[name] = wait_for_status(aws, name)
    assert statuses["reader"]["TrainingJobStatus"] == "Completed", statuses["reader"]
    [metric] = statuses["reader"]["FinalMetricDataList"]
    assert metric["Value"] == 0.875
    assert statuses["isolated"]["TrainingJobStatus"] == "Failed"


@pytest.fixture(scope="module")
def own_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    with LocalAws(tmp_path_factory.mktemp("clients-aws")).running() as local:
        local.s3.put_object(
            Bucket=local.bucket, Key="data/a.csv", Body=b"validation_accuracy=0.875;\n"
        )
        yield local


def test_a_container_reads_s3_unless_it_is_shut_off(own_aws: LocalAws) -> None:
    check_reading_s3(own_aws, sys.executable)


def test_a_variable_that_the_request_sets_stays(own_aws: LocalAws) -> None:
    script = "import os; print('validation_accuracy=' + os.environ['AWS_ENDPOINT_URL'] + ';')"
    request = training_request(own_aws, "own", Environment={"AWS_ENDPOINT_URL": "0.25"})
    request["AlgorithmSpecification"] |= {"ContainerEntrypoint": [sys.executable, "-c", script]}
    own_aws.sagemaker.create_training_job(**request)
    [metric] = wait_for_status(own_aws, "own")["FinalMetricDataList"]
    assert metric["Value"] == 0.25
