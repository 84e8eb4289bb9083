"""Commands of the `aws` client, as AWS's documentation prints them, against the local AWS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.contract.aws.client import DEAD_PROXY, LocalAws, wait_for_status
from tests.support import wait_for

ROLE = "arn:aws:iam::000000000000:role/SageMakerRole"
CHANNEL = (
    '[{"ChannelName":"training","DataSource":{"S3DataSource":'
    '{"S3DataType":"S3Prefix","S3Uri":"s3://{bucket}/data/"}}}]'
)
COMMANDS = [  # in this order: each uses what earlier ones created
    "sts get-caller-identity",
    "s3 ls s3://{bucket}",
    "s3 cp {file} s3://{bucket}/cli/file.txt",
    "s3 cp s3://{bucket}/cli/file.txt -",
    "s3 sync {directory} s3://{bucket}/cli/folder --delete",
    "s3api head-object --bucket {bucket} --key cli/file.txt",
    "s3 presign s3://{bucket}/cli/file.txt",
    (
        "sagemaker create-training-job --training-job-name cli --role-arn {role} "
        "--algorithm-specification TrainingImage=user,TrainingInputMode=File "
        "--input-data-config {channel} "
        "--output-data-config S3OutputPath=s3://{bucket}/out "
        "--resource-config InstanceType=ml.m5.large,InstanceCount=1,VolumeSizeInGB=1 "
        "--stopping-condition MaxRuntimeInSeconds=600 --tags Key=team,Value=cli"
    ),
    "sagemaker wait training-job-completed-or-stopped --training-job-name cli",
    "sagemaker describe-training-job --training-job-name cli",
    (
        "sagemaker list-training-jobs --name-contains cli --sort-by CreationTime "
        "--sort-order Descending --max-results 5"
    ),
    "sagemaker list-tags --resource-arn arn:aws:sagemaker:us-east-1:000000000000:training-job/cli",
    "sagemaker search --resource TrainingJob --max-results 5",
    (
        "logs describe-log-streams --log-group-name /aws/sagemaker/TrainingJobs "
        "--log-stream-name-prefix cli/"
    ),
    (
        "logs filter-log-events --log-group-name /aws/sagemaker/TrainingJobs "
        "--log-stream-name-prefix cli/ --filter-pattern epoch"
    ),
    (
        "sagemaker create-model --model-name cli --execution-role-arn {role} "
        "--primary-container Image=user,ModelDataUrl=s3://{bucket}/out/cli/output/model.tar.gz"
    ),
    "sagemaker describe-model --model-name cli",
    "sagemaker list-models --name-contains cli",
    (
        "sagemaker create-endpoint-config --endpoint-config-name cli "
        "--production-variants "
        "VariantName=AllTraffic,ModelName=cli,InitialInstanceCount=1,InstanceType=ml.m5.large"
    ),
    "sagemaker describe-endpoint-config --endpoint-config-name cli",
    "sagemaker create-endpoint --endpoint-name cli --endpoint-config-name cli",
    "sagemaker describe-endpoint --endpoint-name cli",
    "sagemaker list-endpoints --status-equals Creating",
    "sagemaker list-endpoint-configs",
    "sagemaker create-model-package-group --model-package-group-name cli",
    "sagemaker list-model-package-groups",
    "sagemaker list-processing-jobs",
    "sagemaker list-transform-jobs",
    "sagemaker list-hyper-parameter-tuning-jobs",
    "application-autoscaling describe-scalable-targets --service-namespace sagemaker",
    "cloudwatch list-metrics --namespace /aws/sagemaker/TrainingJobs",
    "ecr create-repository --repository-name cli",
    "ecr describe-repositories",
]


# The client starts once for all commands, as its import takes a second.
DRIVER = """
import contextlib, io, json, sys
from awscli.clidriver import create_clidriver

class Text(io.TextIOWrapper):
    def __init__(self):
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)

    def read_all(self):
        return self.buffer.getvalue().decode()

results = []
driver = create_clidriver()
for words in json.load(sys.stdin):
    out, err = Text(), Text()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = driver.main(words)
    results.append([code, out.read_all(), err.read_all()])
print(json.dumps(results))
"""


def call(aws: LocalAws, commands: list[list[str]]) -> list[tuple[int, str, str]]:
    """Run commands of the client in order; return exit code, output and errors of each."""
    exports = aws.read_exports()
    environ = {"PATH": os.environ["PATH"], "HOME": str(aws.directory), "AWS_PAGER": ""}
    environ |= {**DEAD_PROXY, **exports}
    command = [sys.executable, "-W", "ignore", "-c", DRIVER]
    done = subprocess.run(
        command,
        input=json.dumps(commands),
        env=environ,
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    return [(code, out, err) for code, out, err in json.loads(done.stdout)]


@pytest.mark.timeout(300)
def test_documented_commands_work_as_printed(aws: LocalAws, tmp_path: Path) -> None:
    file, body = tmp_path / "file.txt", tmp_path / "answer.json"
    file.write_text("hello")
    values = {"bucket": aws.bucket, "file": file, "directory": tmp_path, "role": ROLE}
    channel = CHANNEL.replace("{bucket}", aws.bucket)
    commands = [
        [channel if word == "{channel}" else word.format(**values) for word in command.split()]
        for command in COMMANDS
    ]
    answers: dict[str, str] = {}
    waiting = next(index for index, words in enumerate(commands) if words[1] == "wait")
    for part in (commands[:waiting], commands[waiting:]):
        for words, (code, output, errors) in zip(part, call(aws, part), strict=True):
            assert code == 0, f"{' '.join(words)}: {errors}"
            answers[" ".join(words[:2])] = output
        wait_for_status(aws, "cli")  # the client's own waiter looks every two minutes

    def load(name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(answers[name])
        return found

    assert load("sagemaker describe-training-job")["TrainingJobStatus"] == "Completed"
    assert load("sagemaker list-tags")["Tags"] == [{"Key": "team", "Value": "cli"}]
    assert load("logs filter-log-events")["events"][0]["message"].startswith("epoch=0;")

    wait_for(
        lambda: aws.sagemaker.describe_endpoint(EndpointName="cli"),
        lambda answer: answer["EndpointStatus"] == "InService",
    )
    invoke = f"sagemaker-runtime invoke-endpoint --endpoint-name cli --body fileb://{file} {body}"
    refused = "sagemaker describe-endpoint --endpoint-name nowhere"
    [(code, _, _), (_, _, errors)] = call(aws, [invoke.split(), refused.split()])
    assert code == 0
    assert json.loads(body.read_text())["echo"] == "hello"
    assert (
        "An error occurred (ValidationException) when calling the DescribeEndpoint operation"
        in errors
    )
    aws.sagemaker.delete_endpoint(EndpointName="cli")
