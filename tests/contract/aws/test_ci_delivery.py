"""The deployment that `init --ci github` writes, against the local AWS."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest

from container.developer import init
from tests.contract.aws.client import LocalAws, refuse, training_request, wait_for_status
from tests.contract.aws.simulator import Need, find_needs, permits
from tests.support import ROOT

ENDPOINT = "delivery"
SAGEMAKER = "arn:aws:sagemaker:us-east-1:000000000000"
Deploy = Callable[..., int]


@pytest.fixture
def needs() -> list[Need]:
    """Collect the actions and resources for which AWS would ask IAM."""
    return []


@pytest.fixture
def deploy(
    aws: LocalAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, needs: list[Need]
) -> Deploy:
    """Return `deploy(job, body)`: run the script of a new project as the workflow does."""
    init.add_delivery(tmp_path, "github")
    script = tmp_path / "delivery/deploy.py"
    specification = importlib.util.spec_from_file_location("deploy", script)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    session = boto3.Session(aws.key.access_key, aws.key.secret_key, region_name="us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws.url)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", session)

    def see(request: Any, event_name: str, **_: Any) -> None:
        _, service, operation = event_name.split(".")
        if service == "sagemaker-runtime":
            needs.append(Need(f"sagemaker:{operation}", f"{SAGEMAKER}:endpoint/{ENDPOINT}"))
        else:
            needs.extend(find_needs(service, operation, request))

    session.events.register("before-send", see)

    def run(job: dict[str, Any], body: bytes = b"1,2\n") -> int:
        (tmp_path / "job.json").write_text(json.dumps(job, default=str))
        (tmp_path / "request.csv").write_bytes(body)
        words = ["deploy.py", tmp_path / "job.json", "--request", tmp_path / "request.csv"]
        monkeypatch.setattr("sys.argv", [*map(str, words), "--endpoint", ENDPOINT])
        code: int = module.main()
        return code

    return run


@pytest.fixture(scope="module")
def job(aws: LocalAws) -> dict[str, Any]:
    """Describe a completed training job."""
    aws.sagemaker.create_training_job(**training_request(aws, "delivery"))
    found: dict[str, Any] = wait_for_status(aws, "delivery")
    assert found["TrainingJobStatus"] == "Completed"
    return found


def find_config(aws: LocalAws) -> str:
    found = aws.sagemaker.describe_endpoint(EndpointName=ENDPOINT)
    assert found["EndpointStatus"] == "InService"
    return str(found["EndpointConfigName"])


def list_models(aws: LocalAws) -> set[str]:
    found = aws.sagemaker.list_models(NameContains="delivery-")["Models"]
    return {item["ModelName"] for item in found}


def read_policy() -> dict[str, Any]:
    """Return the policy of the page, for the account of the local AWS."""
    page = (ROOT / "docs/delivery.md").read_text()
    blocks = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    [text] = [block for block in blocks if "CreateEndpoint" in block]
    words = {"REGION": "us-east-1", "ACCOUNT": "0" * 12, "NAME": ENDPOINT}
    words["role/byo-sagemaker-execution"] = "role/test"
    for word, value in words.items():
        text = text.replace(word, value)
    policy: dict[str, Any] = json.loads(text)
    return policy


def test_the_endpoint_is_created_updated_and_kept(
    aws: LocalAws,
    job: dict[str, Any],
    deploy: Deploy,
    needs: list[Need],
    capsys: pytest.CaptureFixture[str],
) -> None:
    lost = {"ModelArtifacts": {"S3ModelArtifacts": f"s3://{aws.bucket}/lost/model.tar.gz"}}
    broken = {"ModelArtifacts": {"S3ModelArtifacts": f"s3://{aws.bucket}/broken/model.tar.gz"}}
    aws.s3.put_object(Bucket=aws.bucket, Key="broken/model.tar.gz", Body=b"no archive")

    # The first model never comes up: no endpoint, and nothing of it, is left.
    assert deploy(job | {"TrainingJobName": "delivery-1"} | broken) == 1
    assert "not deployed: " in capsys.readouterr().err
    code, message = refuse(aws.sagemaker.describe_endpoint, EndpointName=ENDPOINT)
    assert (code, "Could not find" in message) == ("ValidationException", True)
    assert list_models(aws) == set()

    # The second one is created, the third one updates it.
    assert deploy(job | {"TrainingJobName": "delivery-2"}) == 0
    assert find_config(aws) == "delivery-2"
    assert deploy(job | {"TrainingJobName": "delivery-3"}) == 0
    assert find_config(aws) == "delivery-3"
    assert f"endpoint {ENDPOINT} serves delivery-3" in capsys.readouterr().out

    # One does not answer, one does not come up, the archive of one is lost, and one has the name of
    # the model in service.
    assert deploy(job | {"TrainingJobName": "delivery-4"}, b"fail") == 1
    assert "it broke" in capsys.readouterr().err
    assert deploy(job | {"TrainingJobName": "delivery-5"} | broken) == 1
    assert deploy(job | {"TrainingJobName": "delivery-6"} | lost) == 1
    assert deploy(job | {"TrainingJobName": "delivery-3"}) == 1
    assert find_config(aws) == "delivery-3"
    assert list_models(aws) == {"delivery-2", "delivery-3"}
    answer = aws.runtime.invoke_endpoint(EndpointName=ENDPOINT, Body=b"1", ContentType="text/csv")
    assert json.load(answer["Body"])["echo"] == "1"

    policy = read_policy()
    assert [need for need in needs if not permits(policy, need)] == []
    used = {need.action for need in needs}
    listed = {action for item in policy["Statement"] for action in item["Action"]}
    assert listed == used
    aws.sagemaker.delete_endpoint(EndpointName=ENDPOINT)
