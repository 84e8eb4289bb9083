"""A pipeline with a gate: train, evaluate, register, approve, deploy, test, roll back.

The same program runs on AWS and on the local AWS; only the environment differs:

    python -m local_test up
    eval "$(python -m local_test env)"
    python examples/pipeline_with_gate.py --data s3://BUCKET/PREFIX --smoke-body FILE \
        --threshold 0.9

PREFIX holds `training/` and `testing/`. Every model is registered. It is approved only if the
processing job's `--metric` reaches `--threshold`, and only an approved model is deployed. The
endpoint is created or updated. If it does not come into service, or the smoke test fails, the
previous version is restored and the package is rejected. Exit codes: 0 deployed, 3 below the
threshold, 4 rolled back.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.exceptions import BotoCoreError, ClientError

BELOW_THRESHOLD, ROLLED_BACK = 3, 4


class Pipeline:
    """One run of the pipeline; its clients and its name are what the steps share."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Name the run after the group and the time."""
        self.options = options
        self.sagemaker = boto3.client("sagemaker")
        self.name = f"{options.group}-{int(time.time())}"
        self.place = f"{options.data.rstrip('/')}/runs/{self.name}"

    def run(self) -> int:
        """Run all steps; give the exit code."""
        artifact = self.train()
        metrics = self.evaluate(artifact)
        package = self.register(artifact)
        value = metrics[self.options.metric]
        if value < self.options.threshold:
            self.decide(
                package, "Rejected", f"{self.options.metric} {value:.4f} < {self.options.threshold}"
            )
            return BELOW_THRESHOLD
        self.decide(
            package, "Approved", f"{self.options.metric} {value:.4f} >= {self.options.threshold}"
        )
        before = self.find_config()
        failure = self.deploy(package, before) or self.smoke_test()
        if failure:
            self.roll_back(before)
            self.decide(package, "Rejected", failure)
            return ROLLED_BACK
        print(f"endpoint {self.options.endpoint} serves {package}")
        return 0

    def train(self) -> str:
        """Train; give the URI of the artifact."""
        channels = [
            {
                "ChannelName": name,
                "ContentType": "text/csv",
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3Uri": f"{self.options.data.rstrip('/')}/{name}/",
                    }
                },
            }
            for name in ("training", "testing")
        ]
        self.sagemaker.create_training_job(
            TrainingJobName=self.name,
            RoleArn=self.options.role,
            AlgorithmSpecification={
                "TrainingImage": self.options.image,
                "TrainingInputMode": "File",
            },
            HyperParameters=dict(pair.split("=", 1) for pair in self.options.hyperparameter),
            InputDataConfig=channels,
            OutputDataConfig={"S3OutputPath": self.place},
            ResourceConfig={
                "InstanceType": self.options.instance_type,
                "InstanceCount": 1,
                "VolumeSizeInGB": 10,
            },
            StoppingCondition={"MaxRuntimeInSeconds": 3600},
        )
        done = wait(
            lambda: self.sagemaker.describe_training_job(TrainingJobName=self.name),
            "TrainingJobStatus",
        )
        if done["TrainingJobStatus"] != "Completed":
            sys.exit(f"training {done['TrainingJobStatus']}: {done.get('FailureReason')}")
        artifact: str = done["ModelArtifacts"]["S3ModelArtifacts"]
        return artifact

    def evaluate(self, artifact: str) -> dict[str, Any]:
        """Score the artifact in a processing job; give its metrics."""
        inputs = {"model": artifact, "test": f"{self.options.data.rstrip('/')}/testing/"}
        cluster = {
            "InstanceType": self.options.instance_type,
            "InstanceCount": 1,
            "VolumeSizeInGB": 10,
        }
        output = {
            "S3Uri": f"{self.place}/evaluation",
            "LocalPath": "/opt/ml/processing/output/evaluation",
            "S3UploadMode": "EndOfJob",
        }
        self.sagemaker.create_processing_job(
            ProcessingJobName=self.name,
            RoleArn=self.options.role,
            AppSpecification={"ImageUri": self.options.image},
            ProcessingResources={"ClusterConfig": cluster},
            ProcessingInputs=[
                {
                    "InputName": name,
                    "S3Input": {
                        "S3Uri": uri,
                        "LocalPath": f"/opt/ml/processing/input/{name}",
                        "S3DataType": "S3Prefix",
                        "S3InputMode": "File",
                    },
                }
                for name, uri in inputs.items()
            ],
            ProcessingOutputConfig={"Outputs": [{"OutputName": "evaluation", "S3Output": output}]},
        )
        done = wait(
            lambda: self.sagemaker.describe_processing_job(ProcessingJobName=self.name),
            "ProcessingJobStatus",
        )
        if done["ProcessingJobStatus"] != "Completed":
            sys.exit(f"evaluation {done['ProcessingJobStatus']}: {done.get('FailureReason')}")
        place = urlsplit(f"{self.place}/evaluation/metrics.json")
        body = boto3.client("s3").get_object(Bucket=place.netloc, Key=place.path.lstrip("/"))[
            "Body"
        ]
        metrics: dict[str, Any] = json.load(body)
        return metrics

    def register(self, artifact: str) -> str:
        """Register the model as the next version of the group; give the package's ARN."""
        try:
            self.sagemaker.describe_model_package_group(ModelPackageGroupName=self.options.group)
        except ClientError:
            self.sagemaker.create_model_package_group(ModelPackageGroupName=self.options.group)
        arn: str = self.sagemaker.create_model_package(
            ModelPackageGroupName=self.options.group,
            ModelApprovalStatus="PendingManualApproval",
            InferenceSpecification={
                "Containers": [{"Image": self.options.image, "ModelDataUrl": artifact}],
                "SupportedContentTypes": ["text/csv", "application/json"],
                "SupportedResponseMIMETypes": ["application/json", "text/csv"],
            },
        )["ModelPackageArn"]
        return arn

    def decide(self, package: str, status: str, reason: str) -> None:
        """Approve or reject the package."""
        print(f"{status}: {reason}")
        self.sagemaker.update_model_package(
            ModelPackageArn=package, ModelApprovalStatus=status, ApprovalDescription=reason[:1024]
        )

    def find_config(self) -> str | None:
        """Return the configuration that the endpoint runs now."""
        try:
            described = self.sagemaker.describe_endpoint(EndpointName=self.options.endpoint)
        except ClientError:
            return None
        config: str = described["EndpointConfigName"]
        return config

    def deploy(self, package: str, before: str | None) -> str:
        """Make or update the endpoint; give why it failed, if it did."""
        container = {"ModelPackageName": package}
        self.sagemaker.create_model(
            ModelName=self.name, ExecutionRoleArn=self.options.role, PrimaryContainer=container
        )
        variant = {
            "VariantName": "AllTraffic",
            "ModelName": self.name,
            "InstanceType": self.options.instance_type,
            "InitialInstanceCount": 1,
        }
        self.sagemaker.create_endpoint_config(
            EndpointConfigName=self.name, ProductionVariants=[variant]
        )
        change = self.sagemaker.update_endpoint if before else self.sagemaker.create_endpoint
        change(EndpointName=self.options.endpoint, EndpointConfigName=self.name)
        done = self.wait_for_endpoint()
        if done["EndpointStatus"] != "InService" or done["EndpointConfigName"] != self.name:
            return f"endpoint {done['EndpointStatus']}: {done.get('FailureReason')}"
        return ""

    def wait_for_endpoint(self) -> dict[str, Any]:
        """Wait until the endpoint is in service, or failed."""
        return wait(
            lambda: self.sagemaker.describe_endpoint(EndpointName=self.options.endpoint),
            "EndpointStatus",
        )

    def smoke_test(self) -> str:
        """Send a real request; give why the answer is not good, if it is not."""
        body = Path(self.options.smoke_body).read_bytes()
        try:
            response = boto3.client("sagemaker-runtime").invoke_endpoint(
                EndpointName=self.options.endpoint,
                ContentType="text/csv",
                Accept="application/json",
                Body=body,
            )
            json.load(response["Body"])
        except (ClientError, ValueError) as error:
            return f"smoke test: {error}"
        return ""

    def roll_back(self, before: str | None) -> None:
        """Put the configuration before back, or delete an endpoint that had none."""
        if before is None:
            self.sagemaker.delete_endpoint(EndpointName=self.options.endpoint)
        elif self.find_config() != before:
            self.sagemaker.update_endpoint(
                EndpointName=self.options.endpoint, EndpointConfigName=before
            )
            self.wait_for_endpoint()
        self.sagemaker.delete_endpoint_config(EndpointConfigName=self.name)
        self.sagemaker.delete_model(ModelName=self.name)


def wait(describe: Callable[[], dict[str, Any]], status: str) -> dict[str, Any]:
    """Wait until a job has ended or an endpoint has settled."""
    while (answer := describe())[status] in (
        "InProgress",
        "Stopping",
        "Creating",
        "Updating",
        "RollingBack",
    ):
        time.sleep(1)
    return answer


def main() -> int:
    """Run the pipeline."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="S3 prefix of training/ and testing/")
    parser.add_argument(
        "--smoke-body", required=True, help="file with the CSV body of the smoke test"
    )
    parser.add_argument("--metric", default="accuracy", help="name in metrics.json")
    parser.add_argument("--threshold", type=float, default=0.95)
    parser.add_argument("--group", default="mnist", help="model package group")
    parser.add_argument("--endpoint", default="mnist")
    parser.add_argument("--hyperparameter", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument(
        "--image", default="000000000000.dkr.ecr.us-east-1.amazonaws.com/byo:cpu", help="URI in ECR"
    )
    parser.add_argument(
        "--role",
        default="arn:aws:iam::000000000000:role/sagemaker",
        help="ARN that SageMaker takes",
    )
    parser.add_argument("--instance-type", default="ml.m5.xlarge")
    options = parser.parse_args()
    try:
        return Pipeline(options).run()
    except BotoCoreError as error:
        sys.exit(
            f"cannot use AWS: {error}; for the local AWS, run `python -m local_test up` and then "
            '`eval "$(python -m local_test env)"` in this shell (with the package, `byo up` and '
            "`byo env`)"
        )


if __name__ == "__main__":
    sys.exit(main())
