"""Train, deploy and ask a project by boto3, as a client of any AWS: run in the project's folder.

Needs boto3 only; `byo env` names the service. Prints the answer of the endpoint.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import boto3

BUCKET = "byo-walk"
ROLE = "arn:aws:iam::000000000000:role/walk"


def upload(folder: str) -> dict[str, Any]:
    """Store a folder's files; return them as a source of data."""
    s3 = boto3.client("s3")
    for path in Path(folder).iterdir():
        if path.is_file():
            s3.upload_file(str(path), BUCKET, f"{folder}/{path.name}")
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/{folder}/"}
    return {"S3DataSource": source}


def wait(client: Any, waiter: str, **names: str) -> None:
    """Wait as boto3 does, but look each second."""
    client.get_waiter(waiter).wait(**names, WaiterConfig={"Delay": 1, "MaxAttempts": 300})


def main() -> None:
    """Walk from the bucket to the answer of an endpoint, and delete the endpoint."""
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    sagemaker = boto3.client("sagemaker")
    instance = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}
    sagemaker.create_training_job(
        TrainingJobName="walk",
        RoleArn=ROLE,
        AlgorithmSpecification={"TrainingImage": "program", "TrainingInputMode": "File"},
        InputDataConfig=[
            {"ChannelName": "code", "DataSource": upload("code")},
            {"ChannelName": "training", "DataSource": upload("data")},
        ],
        OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/output"},
        ResourceConfig=instance,
        StoppingCondition={"MaxRuntimeInSeconds": 600},
    )
    wait(sagemaker, "training_job_completed_or_stopped", TrainingJobName="walk")
    job = sagemaker.describe_training_job(TrainingJobName="walk")
    print(job["TrainingJobStatus"], job["ModelArtifacts"]["S3ModelArtifacts"])
    container = {"Image": "program", "ModelDataUrl": job["ModelArtifacts"]["S3ModelArtifacts"]}
    sagemaker.create_model(ModelName="walk", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    variant = {
        "VariantName": "all",
        "ModelName": "walk",
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }
    sagemaker.create_endpoint_config(EndpointConfigName="walk", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="walk", EndpointConfigName="walk")
    wait(sagemaker, "endpoint_in_service", EndpointName="walk")
    answer = boto3.client("sagemaker-runtime").invoke_endpoint(
        EndpointName="walk", Body=Path("request.csv").read_bytes(), ContentType="text/csv"
    )
    print(answer["Body"].read().decode())
    sagemaker.delete_endpoint(EndpointName="walk")


if __name__ == "__main__":
    main()
