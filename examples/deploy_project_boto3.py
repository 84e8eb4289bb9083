"""Train a project, deploy its model, send a request and delete everything, with boto3.

    python -m container init my-algorithm
    python -m local_test up
    eval "$(python -m local_test env)"
    python examples/deploy_project_boto3.py my-algorithm

The project has `code/` with a training program and `inference.py`, `data/` for the channel
`training`, and `request.csv`, as `init` writes them. `--env NAME=VALUE` sets a variable of job and
server: `SAGEMAKER_INSTALL_REQUIREMENTS=true` lets the server install what the code lists. `--keep`
leaves the endpoint running. The same program runs on AWS, with the image and a role of yours:
`--image 111122223333.dkr.ecr.../my-image --role arn:aws:iam::...`.
"""

import argparse
import sys
import time
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("project", type=Path, help="directory with code/, data/ and request.csv")
parser.add_argument("--image", help="URI in ECR; by default byo:cpu of this account")
parser.add_argument("--role", default="arn:aws:iam::000000000000:role/sagemaker")
parser.add_argument("--body", type=Path, help="body of the request; by default request.csv")
parser.add_argument("--content-type", default="text/csv")
parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
parser.add_argument("--keep", action="store_true", help="do not delete the endpoint")
options = parser.parse_args()
for pair in options.env:
    if "=" not in pair:
        sys.exit(f"--env {pair}: expected NAME=VALUE")
environment = dict(pair.split("=", 1) for pair in options.env)
request = options.body or options.project / "request.csv"
for path in (options.project / "code", options.project / "data", request):
    if not path.exists():
        sys.exit(f"{path} does not exist; name a project with code/, data/ and request.csv")
body = request.read_bytes()

session = boto3.Session()
try:
    sagemaker, s3 = session.client("sagemaker"), session.client("s3")
    account = session.client("sts").get_caller_identity()["Account"]
except (BotoCoreError, ClientError) as error:
    sys.exit(
        f"cannot use AWS: {error}; for the local AWS, run `python -m local_test up` and then "
        '`eval "$(python -m local_test env)"` in this shell (with the package, `byo up`, `byo env`)'
    )
bucket = f"sagemaker-{session.region_name}-{account}"
image = options.image or f"{account}.dkr.ecr.{session.region_name}.amazonaws.com/byo:cpu"
name = f"project-{int(time.time() * 1000)}"


def upload(folder):
    """Copy the files of a folder to the bucket; return the prefix that they have there."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        s3.upload_file(str(path), bucket, f"{name}/{folder.name}/{path.relative_to(folder)}")
    return f"s3://{bucket}/{name}/{folder.name}/"


def make_channel(channel, prefix):
    source = {
        "S3DataType": "S3Prefix",
        "S3Uri": prefix,
        "S3DataDistributionType": "FullyReplicated",
    }
    return {"ChannelName": channel, "DataSource": {"S3DataSource": source}}


def wait(describe, status):
    """Wait for the end of a job or an endpoint's start; exit with the reason if it fails."""
    while (answer := describe())[status] in ("InProgress", "Stopping", "Creating"):
        time.sleep(1)
    if answer[status] not in ("Completed", "InService"):
        sys.exit(f"{answer[status]}: {answer.get('FailureReason')}")
    return answer


# %% 1. train
print("1. train")
sagemaker.create_training_job(
    TrainingJobName=name,
    AlgorithmSpecification={"TrainingImage": image, "TrainingInputMode": "File"},
    RoleArn=options.role,
    InputDataConfig=[
        make_channel("code", upload(options.project / "code")),
        make_channel("training", upload(options.project / "data")),
    ],
    OutputDataConfig={"S3OutputPath": f"s3://{bucket}/{name}/output"},
    ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
    StoppingCondition={"MaxRuntimeInSeconds": 3600},
    Environment=environment,
)
trained = wait(lambda: sagemaker.describe_training_job(TrainingJobName=name), "TrainingJobStatus")
artifact = trained["ModelArtifacts"]["S3ModelArtifacts"]
print(f"   {artifact}")

# %% 2. deploy
print("2. deploy")
sagemaker.create_model(
    ModelName=name,
    ExecutionRoleArn=options.role,
    PrimaryContainer={"Image": image, "ModelDataUrl": artifact, "Environment": environment},
)
variant = {
    "VariantName": "AllTraffic",
    "ModelName": name,
    "InstanceType": "ml.m5.large",
    "InitialInstanceCount": 1,
}
sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
wait(lambda: sagemaker.describe_endpoint(EndpointName=name), "EndpointStatus")

# %% 3. predict
print("3. predict")
answer = session.client("sagemaker-runtime").invoke_endpoint(
    EndpointName=name, ContentType=options.content_type, Body=body
)
print(f"   {answer['Body'].read().decode().strip()}")

# %% 4. delete
if options.keep:
    print(f"4. keep the endpoint {name}")
else:
    print("4. delete")
    sagemaker.delete_endpoint(EndpointName=name)
    sagemaker.delete_endpoint_config(EndpointConfigName=name)
    sagemaker.delete_model(ModelName=name)
