"""A local AWS for tests, and the requests that they share."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator

from tests.support import PROGRAMS, ROOT, wait_for

PROGRAM = shlex.join([sys.executable, str(PROGRAMS / "aws_user.py")])
DEAD_PROXY = dict.fromkeys(("http_proxy", "HTTP_PROXY", "https_proxy"), "http://127.0.0.1:1")
"""As on a company's machine, where nothing on loopback may be asked of the proxy."""


class LocalAws:
    """One local AWS as its own process, driven by its commands."""

    role = "arn:aws:iam::000000000000:role/test"
    image = "000000000000.dkr.ecr.us-east-1.amazonaws.com/user:1"
    bucket = "sagemaker-us-east-1-000000000000"
    flags: tuple[str, ...] = ()
    """Further options of `up`."""
    program: str | None = PROGRAM
    """What runs for every image; without it, images run in the Docker engine."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.url = ""

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command of the command line."""
        environ = {**os.environ, **DEAD_PROXY, "LOCAL_AWS_DIRECTORY": str(self.directory)}
        command = [sys.executable, "-m", "local_test", *arguments]
        return subprocess.run(
            command, cwd=ROOT, env=environ, check=check, capture_output=True, text=True, timeout=120
        )

    def read_exports(self) -> dict[str, str]:
        """Return the variables that `env` prints, as a shell would read them."""
        words = shlex.split(self.run("env").stdout)
        return dict(word.split("=", 1) for word in words if "=" in word)

    def up(self) -> None:
        """Start it."""
        runner = ["--program", self.program] if self.program else ["--docker"]
        done = self.run("up", *runner, *self.flags, check=False)
        if done.returncode != 0:
            log = self.directory / "server.log"
            raise AssertionError(done.stderr + (log.read_text() if log.exists() else ""))
        self.url = json.loads((self.directory / "server.json").read_text())["url"]
        self.client.cache_clear()

    @contextlib.contextmanager
    def running(self, program: str | None = PROGRAM) -> Iterator[Self]:
        """Start it, and stop it even if the test fails."""
        self.program = program
        try:
            self.up()
            yield self
        finally:
            self.run("down", "--force", check=False)

    @property
    def pid(self) -> int:
        """Process id of the server."""
        return int(json.loads((self.directory / "server.json").read_text())["pid"])

    def list_programs(self) -> list[int]:
        """List the processes that run as its containers, by the path in their command."""
        pattern = f"{self.directory}/(components|endpoints|jobs)"
        found = subprocess.run(
            ["pgrep", "-f", pattern], check=False, capture_output=True, text=True
        )
        return [int(line) for line in found.stdout.split()]

    def interrupt(self, how: str) -> None:
        """End it by `kill` or `down`, and start it again."""
        if how == "kill":
            os.kill(self.pid, signal.SIGKILL)
            wait_for(self.list_programs, lambda left: not left)
        else:
            self.run("down", "--force")
        self.up()

    @functools.cache  # noqa: B019 - a handful of clients, cleared with every start
    def client(
        self, service: str, *, parameter_validation: bool = True, region_name: str = "us-east-1"
    ) -> Any:
        """Return boto3's own client."""
        client = boto3.client(
            service,
            endpoint_url=self.url,
            region_name=region_name,
            aws_access_key_id=self.key.access_key,
            aws_secret_access_key=self.key.secret_key,
            config=Config(
                parameter_validation=parameter_validation,
                retries={"total_max_attempts": 1},
                max_pool_connections=64,
            ),
        )
        client.meta.events.register(
            f"after-call.{client.meta.service_model.service_id.hyphenize()}", check_answer
        )
        return client

    @property
    def key(self) -> Credentials:
        """The key of the directory."""
        found = json.loads((self.directory / "keys.json").read_text())
        return Credentials(found["id"], found["secret"])

    def sign(
        self, path: str, body: bytes, service: str = "sagemaker", **headers: str
    ) -> dict[str, str]:
        """Return the headers of a signed POST request."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = AWSRequest("POST", self.url + path, headers=named, data=body)
        SigV4Auth(self.key, service, "us-east-1").add_auth(request)
        return dict(request.headers.items())

    @property
    def sagemaker(self) -> Any:
        """Client of the API."""
        return self.client("sagemaker")

    @property
    def runtime(self) -> Any:
        """Client of the runtime API."""
        return self.client("sagemaker-runtime")

    @property
    def s3(self) -> Any:
        """Client of S3."""
        return self.client("s3")


def check_answer(parsed: dict[str, Any], model: Any, **_: Any) -> None:
    """Check an answer against botocore's model: required members, types, ranges."""
    if (
        "Error" not in parsed
        and model.output_shape is not None
        and not model.has_event_stream_output
    ):
        answer = {key: value for key, value in parsed.items() if key != "ResponseMetadata"}
        report = ParamValidator().validate(answer, model.output_shape)
        assert not report.has_errors(), f"{model.name}: {report.generate_report()}"


def training_request(aws: LocalAws, name: str, **changes: Any) -> dict[str, Any]:
    """Return a CreateTrainingJob request whose job ends at once."""
    return {
        "TrainingJobName": name,
        "RoleArn": aws.role,
        "AlgorithmSpecification": {
            "TrainingImage": aws.image,
            "TrainingInputMode": "File",
            "MetricDefinitions": [
                {"Name": "validation_accuracy", "Regex": "validation_accuracy=([0-9.]+);"}
            ],
        },
        "InputDataConfig": [
            {
                "ChannelName": "training",
                "DataSource": {
                    "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{aws.bucket}/data/"}
                },
            }
        ],
        "OutputDataConfig": {"S3OutputPath": f"s3://{aws.bucket}/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        **changes,
    }


def wait_for_status(aws: LocalAws, name: str, *, secondary: str = "") -> Any:
    """Wait for the end of a training job, or for a secondary status."""
    return wait_for(
        lambda: aws.sagemaker.describe_training_job(TrainingJobName=name),
        lambda answer: (
            answer["SecondaryStatus"] == secondary
            if secondary
            else answer["TrainingJobStatus"] in ("Completed", "Failed", "Stopped")
        ),
    )


def read_logs(aws: LocalAws, job: str) -> list[str]:
    """Return the log of each host of a training job, sorted by host."""
    logs, group = aws.client("logs"), "/aws/sagemaker/TrainingJobs"
    streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{job}/")
    texts = []
    for stream in sorted(stream["logStreamName"] for stream in streams["logStreams"]):
        events = logs.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True)
        texts.append("\n".join(event["message"] for event in events["events"]))
    return texts


def sum_metric(aws: LocalAws, metric: str, **dimensions: str) -> float:
    """Return the sum of an endpoint's metric, of an hour before and after now."""
    now = dt.datetime.now(dt.UTC)
    points = aws.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/SageMaker",
        MetricName=metric,
        Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
        StartTime=now - dt.timedelta(hours=1),
        EndTime=now + dt.timedelta(hours=1),
        Period=7200,
        Statistics=["Sum"],
    )["Datapoints"]
    return float(sum(point["Sum"] for point in points))


def refuse(call: Callable[..., Any], **arguments: Any) -> tuple[str, str]:
    """Return code and message of the error that a call must raise."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]
