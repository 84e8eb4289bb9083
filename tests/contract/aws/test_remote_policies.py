"""Each command works with the policy that `byo aws role` prints, and needs each statement."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from local_test.remote.transfer import images
from local_test.remote.transfer.images import LocalImage
from tests.contract.aws.client import LocalAws
from tests.contract.aws.remote import Remote, answer
from tests.contract.aws.simulator import leave_out, permits

UNUSED = {
    "Stop",  # for an interruption, which is tested below
    "Undo",
}
DOCKER = "application/vnd.docker.distribution.manifest.v2+json"


@pytest.fixture
def image(aws: LocalAws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Return the name of a local image that the registry does not have."""

    def push(repository: str, tag: str, _: str) -> None:
        manifest = json.dumps({"schemaVersion": 2, "mediaType": DOCKER, "tag": tag})
        aws.client("ecr").put_image(
            repositoryName=repository.partition("/")[2],
            imageTag=tag,
            imageManifest=manifest,
            imageManifestMediaType=DOCKER,
        )

    content = f"sha256:{tmp_path.parent.name.encode().hex():0>64}"[:71]
    monkeypatch.setattr(images, "find_local", lambda name: LocalImage(name, content, "amd64", push))
    return f"policies-{tmp_path.name.lower().replace('_', '-')}"


@pytest.fixture
def commands(tmp_path: Path, image: str) -> dict[str, list[str]]:
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.csv").write_text(f"{tmp_path}\n")
    (tmp_path / "model.json").write_text('{"hyperparameters": {}}')
    model = tmp_path / f"{tmp_path.name}.tar.gz"
    with tarfile.open(model, "w:gz") as tar:
        tar.add(tmp_path / "model.json", "model.json")
    there = ["--on", "aws", "--yes", "--image", image]
    return {
        "train": ["train", *there, "-c", f"training={data}"],
        "evaluate": ["evaluate", *there, "--model", str(model), "--test", str(data)],
        "transform": ["transform", str(data), *there, "--model", str(model)],
    }


def read_policy(remote: Remote, command: str) -> dict[str, Any]:
    policy: dict[str, Any] = json.loads(remote.run_well("aws", "role", command))
    return policy


@pytest.mark.parametrize("command", ["train", "evaluate", "transform"])
def test_a_command_needs_each_statement_of_its_policy(
    remote: Remote, commands: dict[str, list[str]], command: str
) -> None:
    remote.faults.clear()
    remote.policy = read_policy(remote, command)
    code, _, err = remote.run(*commands[command], "--name", f"allowed-{command}")
    assert code == 0, err
    assert "may not call" not in err
    needs = list(remote.needs)
    assert {action for action, _ in needs} > {"s3:PutObject", "iam:PassRole", "logs:GetLogEvents"}

    for sid in {statement["Sid"] for statement in remote.policy["Statement"]} - UNUSED:
        rest = leave_out(remote.policy, sid)
        assert not all(permits(rest, need) for need in needs), f"nothing needs {sid}"
    remote.policy = leave_out(remote.policy, "Create")
    code, _, err = remote.run(*commands[command], "--name", f"denied-{command}")
    assert code == 2
    assert "error: these credentials may not call Create" in err
    remote.policy = None
    remote.run_well("aws", "clean", "--yes", "--logs")


def test_the_policy_of_train_permits_the_stop_after_an_error(
    remote: Remote, commands: dict[str, list[str]]
) -> None:
    remote.policy = read_policy(remote, "train")
    remote.faults["DescribeTrainingJob"] = [answer(400, "ExpiredTokenException")]
    stopped = [*commands["train"], "-p", "epochs=2", "-p", "epoch_s=60"]
    code, _, err = remote.run(*stopped, "--name", "stopped-by-policy")
    assert code == 2
    assert "stopped-by-policy is being stopped" in err
    remote.policy = leave_out(remote.policy, "Stop")
    remote.faults["DescribeTrainingJob"] = [answer(400, "ExpiredTokenException")]
    code, _, err = remote.run(*stopped, "--name", "not-stopped-by-policy")
    assert "not-stopped-by-policy may still run" in err
    remote.policy = read_policy(remote, "clean")
    remote.run_well("aws", "clean", "--yes", "--logs")


def test_the_inventory_needs_each_statement(remote: Remote, commands: dict[str, list[str]]) -> None:
    remote.run_well(*commands["transform"], "--name", "transformed")
    remote.run_well(*commands["train"], "-p", "epochs=1", "--name", "trained", "--detach")
    for command, arguments in {
        "ls": ["ls"],
        "stop": ["stop", "trained"],
        "delete": ["delete", "trained", "--yes", "--logs"],
        "clean": ["clean", "--yes", "--logs"],
    }.items():
        remote.policy = None
        remote.policy = read_policy(remote, command)
        remote.needs.clear()
        remote.run_well("aws", *arguments)
        unused = {"ls": set(), "stop": {"Look", "Stop"}, "clean": {"Look", "Stop"}}.get(
            command, {"Look", "Stop", "Bucket", "Objects", "Trainings"}
        )
        for sid in {statement["Sid"] for statement in remote.policy["Statement"]} - unused:
            rest = leave_out(remote.policy, sid)
            assert not all(permits(rest, need) for need in remote.needs), f"{command}: {sid}"
    assert remote.run_well("aws", "ls") == ""


def test_the_role_is_made_once_and_another_role_is_left_alone(
    remote: Remote,
) -> None:
    code, out, err = remote.run("aws", "role", "--create", "--yes", "--bucket", "theirs")
    assert code == 0, err
    assert "made arn:aws:iam::000000000000:role/byo-sagemaker-execution" in err
    document = json.loads(out)
    assert document["trust"]["Statement"][0]["Principal"] == {"Service": "sagemaker.amazonaws.com"}
    name = {"RoleName": "byo-sagemaker-execution"}
    role = remote.make_client("iam").get_role(**name)["Role"]
    assert role["AssumeRolePolicyDocument"] == document["trust"]
    stored = remote.make_client("iam").get_role_policy(**name, PolicyName="byo-sagemaker")
    assert stored["PolicyDocument"] == document["role"]
    assert permits(document["role"], ("s3:GetObject", "arn:aws:s3:::theirs/data/a.csv"))
    assert not permits(document["role"], ("s3:PutObject", "arn:aws:s3:::theirs/data/a.csv"))

    code, _, err = remote.run("aws", "role", "--create", "--yes")
    assert "updated arn:aws:iam::000000000000:role/byo-sagemaker-execution" in err
    remote.make_client("iam").create_role(RoleName="of-someone-else", AssumeRolePolicyDocument="{}")
    code, _, err = remote.run("aws", "role", "--create", "--yes", "--name", "of-someone-else")
    assert code == 2
    assert "AWS refuses CreateRole (EntityAlreadyExists)" in err
    code, _, err = remote.run("aws", "role", "dance")
    assert "no command 'dance'; choose one of train, evaluate" in err
