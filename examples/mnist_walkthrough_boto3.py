"""The MNIST walk-through with boto3: train, evaluate, tune, transform, deploy, predict, delete.

The same program runs on AWS and on the local AWS; only the environment differs:

    python -m local_test up
    eval "$(python -m local_test env)"
    python examples/mnist_walkthrough_boto3.py --data DIRECTORY

DIRECTORY holds `mnist_train.csv` and `mnist_test.csv` (or `.csv.gz`): the label, then the pixels of
one image a row. On AWS, name the image and the role that SageMaker takes:
`--image 111122223333.dkr.ecr.../byo:cpu --role arn:aws:iam::...`.
"""

import argparse
import gzip
import io
import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

METRICS = ("validation_accuracy", "test_accuracy", "test_f1")


def parse_options(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="directory of mnist_train.csv and mnist_test.csv"
    )
    parser.add_argument(
        "--image", help="URI of the image in ECR; by default byo:cpu of this account"
    )
    parser.add_argument(
        "--role",
        default="arn:aws:iam::000000000000:role/sagemaker",
        help="ARN that SageMaker takes",
    )
    parser.add_argument("--bucket", help="by default SageMaker's own of the account")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--tuning-jobs", type=int, default=3)
    return parser.parse_args(argv)


def find_file(directory: Path, name: str) -> Path:
    """Return the file of a name, compressed or not."""
    found = [path for path in (directory / name, directory / f"{name}.gz") if path.is_file()]
    if not found:
        sys.exit(f"{directory} has neither {name} nor {name}.gz")
    return found[0]


def read_rows(path: Path) -> tuple[list[str], list[str]]:
    """Return labels and pixel rows of a CSV file, without its header."""
    data = path.read_bytes()
    text = io.StringIO((gzip.decompress(data) if path.suffix == ".gz" else data).decode())
    lines = [line.strip() for line in text if line[:1].isdecimal()]
    labels, rows = zip(*(line.split(",", 1) for line in lines), strict=True)
    return list(labels), list(rows)


def make_channel(name: str, uri: str) -> dict[str, Any]:
    """Describe an input channel."""
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "ContentType": "text/csv", "DataSource": {"S3DataSource": source}}


def make_input(name: str, uri: str) -> dict[str, Any]:
    """Describe an input of a processing job."""
    path = f"/opt/ml/processing/input/{name}"
    return {
        "InputName": name,
        "S3Input": {
            "S3Uri": uri,
            "LocalPath": path,
            "S3DataType": "S3Prefix",
            "S3InputMode": "File",
        },
    }


def find_best(probabilities: list[str]) -> int:
    """Return the index of the greatest probability."""
    return max(range(len(probabilities)), key=lambda index: float(probabilities[index]))


def wait(describe: Callable[[], dict[str, Any]], status: str) -> dict[str, Any]:
    """Wait for the end of a job or an endpoint's start; exit with the reason if it fails."""
    while (answer := describe())[status] in ("InProgress", "Stopping", "Creating", "Updating"):
        time.sleep(1)
    if answer[status] not in ("Completed", "InService"):
        sys.exit(f"{answer[status]}: {answer.get('FailureReason')}")
    return answer


# %% 0. options (in a notebook: parse_options(["--data", "."]))
options = parse_options()
session = boto3.Session()
try:
    sagemaker, s3 = session.client("sagemaker"), session.client("s3")
    account = session.client("sts").get_caller_identity()["Account"]
except (BotoCoreError, ClientError) as error:
    sys.exit(
        f"cannot use AWS: {error}; for the local AWS, run `python -m local_test up` and then "
        '`eval "$(python -m local_test env)"` in this shell (with the package, `byo up`, `byo env`)'
    )
bucket = options.bucket or f"sagemaker-{session.region_name}-{account}"
image = options.image or f"{account}.dkr.ecr.{session.region_name}.amazonaws.com/byo:cpu"
name = f"mnist-{int(time.time() * 1000)}"
place = f"s3://{bucket}/{name}"

# %% 1. upload
print("1. upload")
train, test = (find_file(options.data, f"mnist_{part}.csv") for part in ("train", "test"))
for path, channel in ((train, "training"), (test, "testing")):
    s3.upload_file(str(path), bucket, f"{name}/{channel}/{path.name}")
labels, rows = read_rows(test)
s3.put_object(Bucket=bucket, Key=f"{name}/unlabeled/rows.csv", Body="\n".join(rows).encode())

# %% 2. train
print("2. train")
algorithm = {
    "TrainingImage": image,
    "TrainingInputMode": "File",
    "MetricDefinitions": [
        {"Name": metric, "Regex": rf"\b{metric}=([0-9.eE+-]+);"} for metric in METRICS
    ],
}
job = {
    "AlgorithmSpecification": algorithm,
    "RoleArn": options.role,
    "InputDataConfig": [
        make_channel(channel, f"{place}/{channel}/") for channel in ("training", "testing")
    ],
    "OutputDataConfig": {"S3OutputPath": f"{place}/output"},
    "ResourceConfig": {
        "InstanceType": "ml.m5.xlarge",
        "InstanceCount": 1,
        "VolumeSizeInGB": 10,
    },
    "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
}
hyperparameters = {"epochs": str(options.epochs), "seed": "0"}
sagemaker.create_training_job(TrainingJobName=name, HyperParameters=hyperparameters, **job)
trained = wait(lambda: sagemaker.describe_training_job(TrainingJobName=name), "TrainingJobStatus")
for metric in trained["FinalMetricDataList"]:
    print(f"   {metric['MetricName']} = {metric['Value']:.4f}")
artifact = trained["ModelArtifacts"]["S3ModelArtifacts"]

# %% 3. evaluate, as a processing job
print("3. evaluate, as a processing job")
sagemaker.create_processing_job(
    ProcessingJobName=name,
    AppSpecification={"ImageUri": image},
    RoleArn=options.role,
    ProcessingResources={
        "ClusterConfig": {
            "InstanceType": "ml.m5.xlarge",
            "InstanceCount": 1,
            "VolumeSizeInGB": 10,
        }
    },
    ProcessingInputs=[make_input("model", artifact), make_input("test", f"{place}/testing/")],
    ProcessingOutputConfig={
        "Outputs": [
            {
                "OutputName": "evaluation",
                "S3Output": {
                    "S3Uri": f"{place}/evaluation",
                    "LocalPath": "/opt/ml/processing/output/evaluation",
                    "S3UploadMode": "EndOfJob",
                },
            }
        ]
    },
)
wait(lambda: sagemaker.describe_processing_job(ProcessingJobName=name), "ProcessingJobStatus")
report = json.load(s3.get_object(Bucket=bucket, Key=f"{name}/evaluation/metrics.json")["Body"])
print(
    "  ",
    ", ".join(
        f"{key} {report[key]:.4f}" for key in ("accuracy", "precision", "recall", "f1", "auc")
    ),
)

# %% 4. tune the learning rate
print("4. tune the learning rate")
sagemaker.create_hyper_parameter_tuning_job(
    HyperParameterTuningJobName=name,
    HyperParameterTuningJobConfig={
        "Strategy": "Bayesian",
        "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "test_accuracy"},
        "ResourceLimits": {
            "MaxNumberOfTrainingJobs": options.tuning_jobs,
            "MaxParallelTrainingJobs": 1,
        },
        "ParameterRanges": {
            "ContinuousParameterRanges": [
                {
                    "Name": "learning_rate",
                    "MinValue": "0.001",
                    "MaxValue": "0.1",
                    "ScalingType": "Logarithmic",
                }
            ]
        },
    },
    TrainingJobDefinition={**job, "StaticHyperParameters": hyperparameters},
)
tuned = wait(
    lambda: sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name),
    "HyperParameterTuningJobStatus",
)
best = tuned["BestTrainingJob"]
value = best["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
print(
    f"   best of {options.tuning_jobs}: {best['TunedHyperParameters']} with test_accuracy "
    f"{value:.4f}"
)
artifact = sagemaker.describe_training_job(TrainingJobName=best["TrainingJobName"])[
    "ModelArtifacts"
]["S3ModelArtifacts"]

# %% 5. transform the test set
print("5. transform the test set")
container = {"Image": image, "ModelDataUrl": artifact}
sagemaker.create_model(ModelName=name, ExecutionRoleArn=options.role, PrimaryContainer=container)
sagemaker.create_transform_job(
    TransformJobName=name,
    ModelName=name,
    BatchStrategy="MultiRecord",
    TransformInput={
        "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"{place}/unlabeled/"}},
        "ContentType": "text/csv",
        "SplitType": "Line",
    },
    TransformOutput={
        "S3OutputPath": f"{place}/transformed",
        "Accept": "text/csv",
        "AssembleWith": "Line",
    },
    TransformResources={"InstanceType": "ml.m5.xlarge", "InstanceCount": 1},
)
wait(lambda: sagemaker.describe_transform_job(TransformJobName=name), "TransformJobStatus")
body = s3.get_object(Bucket=bucket, Key=f"{name}/transformed/rows.csv.out")["Body"].read().decode()
answers = [line.split(",") for line in body.splitlines()]
right = sum(find_best(answer) == int(label) for answer, label in zip(answers, labels, strict=True))
print(f"   {right} of {len(labels)} rows are right")

# %% 6. deploy, and predict ten random images
print("6. deploy, and predict ten random images")
sagemaker.create_endpoint_config(
    EndpointConfigName=name,
    ProductionVariants=[
        {
            "VariantName": "AllTraffic",
            "ModelName": name,
            "InstanceType": "ml.m5.xlarge",
            "InitialInstanceCount": 1,
        }
    ],
)
sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
wait(lambda: sagemaker.describe_endpoint(EndpointName=name), "EndpointStatus")
runtime = session.client("sagemaker-runtime")
for index in random.Random(0).sample(range(len(rows)), 10):  # noqa: S311 - a repeatable choice
    response = runtime.invoke_endpoint(
        EndpointName=name, ContentType="text/csv", Accept="text/csv", Body=rows[index]
    )
    probabilities = response["Body"].read().decode().strip().split(",")
    predicted = find_best(probabilities)
    print(
        f"   image {index}: {labels[index]} is predicted as {predicted} with "
        f"{float(probabilities[predicted]):.3f}"
    )

# %% 7. delete
print("7. delete")
sagemaker.delete_endpoint(EndpointName=name)
sagemaker.delete_endpoint_config(EndpointConfigName=name)
sagemaker.delete_model(ModelName=name)
