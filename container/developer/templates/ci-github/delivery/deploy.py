"""Deploys the model of a training job: creates the endpoint, or updates it without a gap.

    python delivery/deploy.py job.json --endpoint NAME --request request.csv

`job.json` is what `byo train --on aws --json` prints. If the model does not come into service, or
does not answer the request, the endpoint gets back what it had before, nothing of the new model is
left, and the exit code is 1. What an endpoint had before stays, to go back by hand.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import boto3
from botocore.exceptions import ClientError

SETTLED = ("InService", "OutOfService", "Failed", "UpdateRollbackFailed")


class Deployment:
    def __init__(self, job, options):
        self.name = job["TrainingJobName"]
        self.endpoint = options.endpoint
        self.sagemaker = boto3.client("sagemaker")
        self.model = {
            "ModelName": self.name,
            "ExecutionRoleArn": job["RoleArn"],
            "PrimaryContainer": {
                "Image": job["AlgorithmSpecification"]["TrainingImage"],
                "ModelDataUrl": job["ModelArtifacts"]["S3ModelArtifacts"],
            },
        }
        self.variant = {
            "VariantName": "AllTraffic",
            "ModelName": self.name,
            "InstanceType": options.instance_type,
            "InitialInstanceCount": options.instance_count,
        }
        self.undo = []

    def find(self):
        """Return the endpoint once it has settled; None if there is none."""
        pause_s = 0.5
        while True:
            try:
                found = self.sagemaker.describe_endpoint(EndpointName=self.endpoint)
            except ClientError as error:
                if "Could not find" not in str(error):
                    raise
                return None
            if found["EndpointStatus"] in SETTLED:
                return found
            time.sleep(pause_s)
            pause_s = min(15, pause_s * 1.5)

    def find_current(self):
        """Return the configuration that the endpoint has now; None without an endpoint."""
        found = self.find()
        if found and found["EndpointStatus"] == "Failed":  # it cannot be updated
            self.delete()
            return None
        return found and found["EndpointConfigName"]

    def delete(self):
        self.sagemaker.delete_endpoint(EndpointName=self.endpoint)
        while self.find() is not None:
            time.sleep(1)

    def start(self, before):
        self.sagemaker.create_model(**self.model)
        self.undo.append(lambda: self.sagemaker.delete_model(ModelName=self.name))
        names = {"EndpointConfigName": self.name}
        self.sagemaker.create_endpoint_config(ProductionVariants=[self.variant], **names)
        self.undo.append(lambda: self.sagemaker.delete_endpoint_config(**names))
        if before:
            self.sagemaker.update_endpoint(EndpointName=self.endpoint, **names)
            self.undo.append(lambda: self.restore(before))
        else:
            self.sagemaker.create_endpoint(EndpointName=self.endpoint, **names)
            self.undo.append(self.delete)

    def restore(self, before):
        if self.find()["EndpointConfigName"] != before:
            self.sagemaker.update_endpoint(EndpointName=self.endpoint, EndpointConfigName=before)
            self.find()

    def find_fault(self, request):
        """Return why the new model cannot stay; empty if it can."""
        found = self.find()
        # An update that fails leaves the endpoint in service with the configuration before.
        if found["EndpointStatus"] != "InService" or found["EndpointConfigName"] != self.name:
            return found.get("FailureReason", f"the endpoint is {found['EndpointStatus']}")
        answer = boto3.client("sagemaker-runtime").invoke_endpoint(
            EndpointName=self.endpoint, Body=request.read_bytes(), ContentType="text/csv"
        )
        print(answer["Body"].read().decode("utf-8", "replace"))
        return ""


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("job", type=Path, help="JSON file of the training job")
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--request", required=True, type=Path, help="CSV file that it must answer")
    parser.add_argument("--instance-type", default="ml.m5.large")
    parser.add_argument("--instance-count", type=int, default=1)
    return parser.parse_args()


def main():
    options = parse()
    deployment = Deployment(json.loads(options.job.read_text(encoding="utf-8")), options)
    before = deployment.find_current()
    try:
        deployment.start(before)
        fault = deployment.find_fault(options.request)
    except ClientError as error:
        fault = str(error)
    if fault:
        print(f"not deployed: {fault}", file=sys.stderr)
        for undo in reversed(deployment.undo):
            undo()
        return 1
    print(f"endpoint {deployment.endpoint} serves {deployment.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
