"""The example with Terraform, judged by its own tool and made by the local AWS."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.contract.aws.client import LocalAws, refuse
from tests.contract.aws.walkthrough import EXAMPLES
from tests.support import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def model(aws: LocalAws) -> str:
    """Store a model; return its URI."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        member = tarfile.TarInfo("model.json")
        member.size = 2
        archive.addfile(member, io.BytesIO(b"{}"))
    aws.s3.put_object(Bucket=aws.bucket, Key="iac/model.tar.gz", Body=content.getvalue())
    return f"s3://{aws.bucket}/iac/model.tar.gz"


def read_environment(aws: LocalAws) -> dict[str, str]:
    """Return the variables that `byo env` prints, beside ours."""
    exports = aws.read_exports()
    return {**os.environ, **exports}


def ask(aws: LocalAws, endpoint: str) -> str:
    """Wait until an endpoint serves, send a request, and return its configuration's name."""
    found = wait_for(
        lambda: aws.sagemaker.describe_endpoint(EndpointName=endpoint),
        lambda answer: answer["EndpointStatus"] in ("InService", "Failed"),
    )
    assert found["EndpointStatus"] == "InService"
    answer = aws.runtime.invoke_endpoint(EndpointName=endpoint, Body=b"1", ContentType="text/csv")
    assert json.load(answer["Body"])["echo"] == "1"
    return str(found["EndpointConfigName"])


class Terraform:
    """The example in a folder of its own, initialized."""

    def __init__(self, aws: LocalAws, directory: Path, model: str) -> None:
        """Copy the example and get its provider; skip if that is not to be had."""
        self.environ = read_environment(aws) | {"TF_CLI_ARGS": "-no-color"}
        self.environ |= {"TF_VAR_image": aws.image, "TF_VAR_model": model, "TF_VAR_name": "terra"}
        self.directory = directory
        shutil.copy(EXAMPLES / "terraform/main.tf", directory)
        if shutil.which("terraform") is None:
            pytest.skip("terraform is not on PATH")
        done = self.run("init", "-input=false")
        if "Failed to query available provider packages" in done.stderr:
            pytest.skip("terraform reaches no provider; TF_CLI_ARGS_init=-plugin-dir=DIR names one")
        assert done.returncode == 0, done.stderr

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of terraform."""
        return subprocess.run(
            ["terraform", *arguments],
            cwd=self.directory,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )

    def must(self, *arguments: str) -> str:
        """Run a command that succeeds; return what it prints."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def test_terraform_makes_updates_and_destroys_the_endpoint(
    aws: LocalAws, tmp_path: Path, model: str
) -> None:
    terraform = Terraform(aws, tmp_path, model)
    terraform.must("fmt", "-check")
    assert "The configuration is valid." in terraform.must("validate")
    refused = terraform.run("plan", "-input=false", "-var=model=model.tar.gz")
    assert "The model is an s3:// URI that ends in .tar.gz." in refused.stderr

    terraform.must("apply", "-auto-approve", "-input=false")
    first = ask(aws, "terra")
    assert terraform.run("plan", "-detailed-exitcode", "-input=false").returncode == 0
    terraform.must("apply", "-auto-approve", "-input=false", '-var=environment={"A":"1"}')
    second = ask(aws, "terra")
    assert first != second
    names = aws.sagemaker.list_models(NameContains="terra-")["Models"]
    assert len(names) == 1

    terraform.must("destroy", "-auto-approve", "-input=false", '-var=environment={"A":"1"}')
    _, message = refuse(aws.sagemaker.describe_endpoint, EndpointName="terra")
    assert "Could not find" in message
    assert aws.sagemaker.list_models(NameContains="terra-")["Models"] == []
