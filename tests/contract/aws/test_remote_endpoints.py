"""`serve --on aws`: an endpoint of an account, which `up` plays."""

from __future__ import annotations

import json
import os
import signal
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_test.remote import access
from tests.contract.aws.client import LocalAws
from tests.contract.aws.remote import Remote, answer

ATTEMPTS = access._ATTEMPTS  # noqa: SLF001 - as often as the client tries


@pytest.fixture
def flags(aws: LocalAws, tmp_path: Path) -> list[str]:
    (tmp_path / "model.json").write_text('{"hyperparameters": {}}')
    model = tmp_path / f"{tmp_path.name}.tar.gz"
    with tarfile.open(model, "w:gz") as tar:
        tar.add(tmp_path / "model.json", "model.json")
    return [
        *("serve", "--image", aws.image, "--model", str(model), "-e", "COLOR=blue"),
        *("--instance-type", "ml.g5.xlarge"),
        *("--inference-ami", "al2-ami-sagemaker-inference-gpu-3-1"),
    ]


def interrupt(_: object) -> None:
    os.kill(os.getpid(), signal.SIGINT)


def when_up(remote: Remote, name: str, act: Callable[[], None]) -> list[Any]:
    """Return faults that act once, after the command has said that the endpoint is in service.

    It may read the log twice between the endpoint's start and that.
    """
    reads: list[object] = []

    def look(request: object) -> None:
        if len(reads) < 3:
            found = remote.aws.sagemaker.describe_endpoint(EndpointName=name)
            reads.extend([request] * (found["EndpointStatus"] == "InService"))
            if len(reads) == 3:
                act()

    return [look] * 1000


def list_left(remote: Remote) -> str:
    return remote.run_well("aws", "ls", "--json")


def test_an_endpoint_serves_until_it_is_interrupted(remote: Remote, flags: list[str]) -> None:
    remote.faults.clear()
    flags += ["--name", "on-aws"]
    local = json.loads(remote.run_well(*flags, "--print-request"))
    there = [*flags, "--on", "aws", "--yes"]
    printed = json.loads(remote.run_well(*there, "--print-request"))
    assert "CreateModel" not in remote.sent
    answers: list[Any] = []

    def ask() -> None:
        said = remote.aws.runtime.invoke_endpoint(EndpointName="on-aws", Body=b"hello")
        answers.append(json.loads(said["Body"].read()))
        interrupt(None)

    remote.faults["DescribeLogStreams"] = when_up(remote, "on-aws", ask)
    code, out, err = remote.run(*there)

    assert code == 0, err
    assert out == "on-aws\n"
    assert answers[0]["echo"] == "hello"
    assert "InService" in err
    assert "serving" in err
    sent = {
        "models": {"on-aws": json.loads(remote.sent["CreateModel"][0])},
        "config": json.loads(remote.sent["CreateEndpointConfig"][0]),
        "endpoint": json.loads(remote.sent["CreateEndpoint"][0]),
    }
    assert json.dumps(sent) == json.dumps(printed)
    for request in (*printed["models"].values(), printed["config"], printed["endpoint"]):
        assert request.pop("Tags") == [{"Key": "byo-sagemaker", "Value": "endpoint"}]
    for requests in (printed, local):
        del requests["models"]["on-aws"]["PrimaryContainer"]["ModelDataUrl"]
        del requests["models"]["on-aws"]["ExecutionRoleArn"]
    assert printed == local
    remote.faults.clear()
    assert list_left(remote) == ""


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        ("CreateEndpoint", "ResourceLimitExceeded"),
        ("CreateEndpointConfig", "AccessDeniedException"),
        ("DescribeEndpoint", "ExpiredTokenException"),
    ],
)
def test_a_fault_leaves_nothing(
    remote: Remote, flags: list[str], operation: str, code: str
) -> None:
    remote.faults[operation] = [answer(400, code)]
    found, _, err = remote.run(*flags, "--on", "aws", "--yes", "--name", "lost")
    assert found == 2
    assert "nothing of lost is left" in err
    remote.faults.clear()
    assert list_left(remote) == ""


@pytest.mark.parametrize("operation", ["CreateModel", "CreateEndpointConfig", "CreateEndpoint"])
def test_what_a_lost_answer_or_a_failing_service_made_is_deleted(
    remote: Remote, flags: list[str], operation: str
) -> None:
    create = {
        "CreateModel": remote.aws.sagemaker.create_model,
        "CreateEndpointConfig": remote.aws.sagemaker.create_endpoint_config,
        "CreateEndpoint": remote.aws.sagemaker.create_endpoint,
    }

    def make_and_fail(request: Any) -> Any:
        create[operation](**json.loads(request.body))
        return answer(500, "InternalFailure")(request)

    remote.faults[operation] = [make_and_fail]  # the next attempt finds the name taken
    let_pass = [lambda _: None] if operation == "CreateEndpoint" else []  # it looks whose it is
    remote.faults["DescribeEndpoint"] = [*let_pass, answer(400, "ExpiredTokenException")]
    code, _, err = remote.run(*flags, "--on", "aws", "--yes", "--name", "lost")
    assert code == 2
    assert "nothing of lost is left" in err
    remote.faults.clear()
    assert list_left(remote) == ""

    remote.faults[operation] = [make_and_fail] + [answer(500, "InternalFailure")] * (ATTEMPTS - 1)
    code, _, err = remote.run(*flags, "--on", "aws", "--yes", "--name", "lost")
    assert code == 2
    assert f"AWS fails at {operation} (InternalFailure)" in err
    assert list_left(remote) == ""


def test_what_has_the_name_already_is_left_alone(
    remote: Remote, flags: list[str], aws: LocalAws
) -> None:
    aws.sagemaker.create_model(
        ModelName="theirs", PrimaryContainer={"Image": aws.image}, ExecutionRoleArn=aws.role
    )
    code, _, err = remote.run(*flags, "--on", "aws", "--yes", "--name", "theirs")
    assert code == 2
    assert "AWS refuses CreateModel" in err
    assert aws.sagemaker.describe_model(ModelName="theirs")


def test_an_endpoint_that_fails_is_explained_and_deleted(remote: Remote, flags: list[str]) -> None:
    there = ["--on", "aws", "--yes", "--name", "failing", "-e", "NEVER_HEALTHY=1"]
    code, _, err = remote.run(*flags, *there, "--startup-s", "60")
    assert code == 1
    assert "error: the endpoint failed: " in err
    assert "I do not come up" in err
    remote.faults.clear()
    assert list_left(remote) == ""


GONE = answer(400, "ValidationException", 'Could not find endpoint "arn:aws:x"')


def test_an_endpoint_that_someone_else_deletes_ends_the_command(
    remote: Remote, flags: list[str]
) -> None:
    def delete() -> None:
        remote.aws.sagemaker.delete_endpoint(EndpointName="taken-away")

    remote.faults["DescribeLogStreams"] = when_up(remote, "taken-away", delete)
    code, out, err = remote.run(*flags, "--on", "aws", "--yes", "--name", "taken-away")
    assert (code, out) == (1, "taken-away\n")
    assert "error: someone else deleted the endpoint; nothing of taken-away is left" in err
    assert list_left(remote) == ""


def test_an_endpoint_that_someone_else_deletes_while_it_starts_ends_the_command(
    remote: Remote, flags: list[str]
) -> None:
    remote.faults["DescribeEndpoint"] = [GONE]
    code, out, err = remote.run(*flags, "--on", "aws", "--yes", "--name", "taken-away")
    assert (code, out) == (1, "")
    assert "error: someone else deleted the endpoint; nothing of taken-away is left" in err
    assert list_left(remote) == ""


def test_a_detached_endpoint_is_listed_stopped_and_deleted(
    remote: Remote, flags: list[str], aws: LocalAws
) -> None:
    assert remote.run_well(*flags, "--on", "aws", "--yes", "--name", "alone", "--detach") == (
        "alone\n"
    )
    kinds = [json.loads(line)["kind"] for line in list_left(remote).splitlines()]
    assert kinds == ["endpoint", "endpoint config", "model"]
    remote.run_well("aws", "stop", "alone")
    with pytest.raises(ClientError, match="Could not find"):
        aws.sagemaker.describe_endpoint(EndpointName="alone")
    kinds = [json.loads(line)["kind"] for line in list_left(remote).splitlines()]
    assert kinds == ["endpoint config", "model"]
    remote.run_well("aws", "delete", "alone", "--yes", "--logs")
    assert list_left(remote) == ""
