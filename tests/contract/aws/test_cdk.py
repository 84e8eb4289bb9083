"""The example with CDK: its template is judged by a linter, and made in the local AWS."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.contract.aws.client import LocalAws, check_answer
from tests.contract.aws.test_terraform import ask, model
from tests.contract.aws.walkthrough import EXAMPLES
from tests.environments import install_apart

__all__ = ["model"]  # a fixture

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

CALLS = {
    "AWS::SageMaker::Model": "create_model",
    "AWS::SageMaker::EndpointConfig": "create_endpoint_config",
    "AWS::SageMaker::Endpoint": "create_endpoint",
}


def synthesize(directory: Path, **context: str) -> subprocess.CompletedProcess[str]:
    """Run the example as the command `cdk` does."""
    home = install_apart("cdk")
    environ = {
        **os.environ,
        "PATH": f"{home}/bin:{os.environ['PATH']}",
        "CDK_OUTDIR": str(directory),
        "CDK_CONTEXT_JSON": json.dumps(context),
    }
    [command] = json.loads((EXAMPLES / "cdk/cdk.json").read_text()).values()
    return subprocess.run(
        command.split(),
        cwd=EXAMPLES / "cdk",
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


class Stack:
    """What CloudFormation would do with a template, by the calls of the services."""

    def __init__(self, aws: LocalAws, template: dict[str, Any]) -> None:
        self.aws = aws
        self.resources = template["Resources"]
        self.arns: dict[str, str] = {}

    def resolve(self, value: Any) -> Any:
        """Replace functions of CloudFormation, and write names as the API does."""
        if isinstance(value, list):
            return [self.resolve(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "Ref" in value:
            return {"AWS::Partition": "aws", "AWS::Region": "us-east-1"}.get(value["Ref"], "0" * 12)
        if "Fn::Join" in value:
            separator, parts = value["Fn::Join"]
            return separator.join(self.resolve(parts))
        if "Fn::GetAtt" in value:
            name, attribute = value["Fn::GetAtt"]
            return self.arns[name] if attribute == "Arn" else self.name(name)
        return {key: self.resolve(item) for key, item in value.items()}

    def name(self, resource: str) -> str:
        """Return a resource's name, or the one that CloudFormation makes up."""
        item = self.resources[resource]
        key = item["Type"].rpartition("::")[2] + "Name"
        return str(item["Properties"].get(key, f"made-up-{resource}"))

    def make(self, resource: str) -> None:
        """Make a resource with all of its properties."""
        item = self.resources[resource]
        fields = self.resolve(item["Properties"])
        if item["Type"] == "AWS::IAM::Role":
            self.make_role(resource, fields)
            return
        fields.setdefault(item["Type"].rpartition("::")[2] + "Name", self.name(resource))
        getattr(self.aws.sagemaker, CALLS[item["Type"]])(**fields)

    def make_role(self, resource: str, fields: dict[str, Any]) -> None:
        iam = self.aws.client("iam")
        iam.meta.events.unregister("after-call.iam", check_answer)  # botocore parses policies
        trust = json.dumps(fields["AssumeRolePolicyDocument"])
        made = iam.create_role(RoleName=resource, AssumeRolePolicyDocument=trust)
        self.arns[resource] = made["Role"]["Arn"]
        for policy in fields["Policies"]:
            document = json.dumps(policy["PolicyDocument"])
            iam.put_role_policy(
                RoleName=resource, PolicyName=policy["PolicyName"], PolicyDocument=document
            )


def test_cdk_describes_an_endpoint_that_answers(aws: LocalAws, tmp_path: Path, model: str) -> None:
    done = synthesize(tmp_path / "out", name="cdk", image=aws.image, model=model)
    assert done.returncode == 0, done.stderr
    [file] = (tmp_path / "out").glob("*.template.json")
    linted = subprocess.run(
        [install_apart("cdk") / "bin/cfn-lint", "--non-zero-exit-code", "error", file],
        capture_output=True,
        text=True,
        check=False,
    )
    assert linted.returncode == 0, linted.stdout
    stack = Stack(aws, json.loads(file.read_text()))
    kinds = {item["Type"].rpartition("::")[2]: name for name, item in stack.resources.items()}
    assert set(kinds) - {"Metadata"} == {"Role", "Model", "EndpointConfig", "Endpoint"}

    for kind in ("Role", "Model", "EndpointConfig", "Endpoint"):
        stack.make(kinds[kind])

    assert ask(aws, "cdk") == stack.name(kinds["EndpointConfig"])
    made = aws.sagemaker.describe_model(ModelName=stack.name(kinds["Model"]))
    assert made["ExecutionRoleArn"] == stack.arns[kinds["Role"]]
    assert made["PrimaryContainer"]["ModelDataUrl"] == model
    aws.sagemaker.delete_endpoint(EndpointName="cdk")


def test_another_model_has_another_name(tmp_path: Path) -> None:
    names = set()
    for number, environment in enumerate(('{"A": "1"}', '{"A": "2"}')):
        out = tmp_path / str(number)
        done = synthesize(out, image="a:1", model="s3://b/model.tar.gz", environment=environment)
        assert done.returncode == 0, done.stderr
        [file] = out.glob("*.template.json")
        resources = json.loads(file.read_text())["Resources"].values()
        names |= {item["Properties"].get("ModelName") for item in resources}
    assert len(names - {None}) == 2


@pytest.mark.parametrize(
    ("context", "sentence"),
    [
        ({"model": "s3://b/model.tar.gz"}, "-c image=URI: the image in ECR"),
        ({"image": "a:1", "model": "model.tar.gz"}, "an s3:// URI that ends in .tar.gz"),
    ],
)
def test_a_missing_setting_is_one_sentence(
    tmp_path: Path, context: dict[str, str], sentence: str
) -> None:
    done = synthesize(tmp_path, **context)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1
