"""The MNIST walk-through with the SageMaker SDK v3 (`pip install "sagemaker>=3"`).

The same program runs on AWS and on the local AWS; only the environment differs:

    python -m local_test up
    eval "$(python -m local_test env)"
    python examples/mnist_walkthrough_sdk_v3.py --data DIRECTORY

DIRECTORY holds `mnist_train.csv` and `mnist_test.csv` (or `.csv.gz`): the label, then the pixels of
one image a row. On AWS, name the image and the role that SageMaker takes:
`--image 111122223333.dkr.ecr.../byo:cpu --role arn:aws:iam::...`.
"""

import argparse
import gzip
import random
import sys
import time
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.parameter import ContinuousParameter
from sagemaker.core.resources import Endpoint, EndpointConfig, Model, TransformJob
from sagemaker.core.shapes import (
    ContainerDefinition,
    ProductionVariant,
    TransformDataSource,
    TransformInput,
    TransformOutput,
    TransformResources,
    TransformS3DataSource,
)
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData, MetricDefinition, OutputDataConfig
from sagemaker.train.tuner import HyperparameterTuner

METRICS = {
    name: rf"\b{name}=([0-9.eE+-]+);"
    for name in ("validation_accuracy", "test_accuracy", "test_f1")
}


def parse_options(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="directory of mnist_train.csv and mnist_test.csv"
    )
    parser.add_argument(
        "--image", default="000000000000.dkr.ecr.us-east-1.amazonaws.com/byo:cpu", help="URI in ECR"
    )
    parser.add_argument(
        "--role",
        default="arn:aws:iam::000000000000:role/sagemaker",
        help="ARN that SageMaker takes",
    )
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--tuning-jobs", type=int, default=2)
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
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    labels, rows = zip(
        *(line.split(",", 1) for line in text.splitlines() if line[:1].isdecimal()), strict=True
    )
    return list(labels), list(rows)


def find_best(probabilities: list[str]) -> int:
    """Return the index of the greatest probability."""
    return max(range(len(probabilities)), key=lambda index: float(probabilities[index]))


# %% 0. options (in a notebook: parse_options(["--data", "."]))
options = parse_options()
try:
    session = Session()
    s3 = session.boto_session.client("s3")
    bucket, name = session.default_bucket(), f"mnist-v3-{int(time.time())}"
except (BotoCoreError, ClientError, ValueError) as error:
    sys.exit(
        f"cannot use AWS: {error}; for the local AWS, run `python -m local_test up` and then "
        '`eval "$(python -m local_test env)"` in this shell (with the package, `byo up`, `byo env`)'
    )
place = f"s3://{bucket}/{name}"

# %% 1. upload
print("1. upload")
train, test = (find_file(options.data, f"mnist_{part}.csv") for part in ("train", "test"))
for path, channel in ((train, "training"), (test, "testing")):
    s3.upload_file(str(path), bucket, f"{name}/{channel}/{path.name}")
labels, rows = read_rows(test)
s3.put_object(Bucket=bucket, Key=f"{name}/unlabeled/rows.csv", Body="\n".join(rows).encode())
channels = [
    InputData(channel_name=channel, data_source=f"{place}/{channel}/", content_type="text/csv")
    for channel in ("training", "testing")
]

# %% 2. train, with the container's log
print("2. train, with the container's log")
trainer = ModelTrainer(
    training_image=options.image,
    role=options.role,
    base_job_name=name,
    compute=Compute(instance_type="ml.m5.xlarge", instance_count=1, volume_size_in_gb=10),
    hyperparameters={"epochs": options.epochs, "seed": 0},
    output_data_config=OutputDataConfig(s3_output_path=f"{place}/output"),
    sagemaker_session=session,
).with_metric_definitions(
    [MetricDefinition(name=key, regex=regex) for key, regex in METRICS.items()]
)
trainer.train(input_data_config=channels, wait=True, logs=True)
artifact = trainer._latest_training_job.model_artifacts.s3_model_artifacts  # noqa: SLF001 - the SDK's only way to it

# %% 3. tune the learning rate
print("3. tune the learning rate")
tuner = HyperparameterTuner(
    trainer,
    objective_metric_name="test_accuracy",
    hyperparameter_ranges={
        "learning_rate": ContinuousParameter(0.001, 0.1, scaling_type="Logarithmic")
    },
    metric_definitions=[{"Name": key, "Regex": regex} for key, regex in METRICS.items()],
    max_jobs=options.tuning_jobs,
    max_parallel_jobs=1,
    base_tuning_job_name="mnist-v3",
)
tuner.tune(inputs=channels, wait=True)
print(f"   best is {tuner.best_training_job()}")

# %% 4. transform the test set
print("4. transform the test set")
model = Model.create(
    model_name=name,
    primary_container=ContainerDefinition(image=options.image, model_data_url=artifact),
    execution_role_arn=options.role,
)
source = TransformS3DataSource(s3_data_type="S3Prefix", s3_uri=f"{place}/unlabeled/")
transform = TransformJob.create(
    transform_job_name=name,
    model_name=name,
    batch_strategy="MultiRecord",
    transform_input=TransformInput(
        data_source=TransformDataSource(s3_data_source=source),
        content_type="text/csv",
        split_type="Line",
    ),
    transform_output=TransformOutput(
        s3_output_path=f"{place}/transformed", accept="text/csv", assemble_with="Line"
    ),
    transform_resources=TransformResources(instance_type="ml.m5.xlarge", instance_count=1),
)
transform.wait(poll=1)
body = s3.get_object(Bucket=bucket, Key=f"{name}/transformed/rows.csv.out")["Body"].read().decode()
answers = [line.split(",") for line in body.splitlines()]
right = sum(find_best(answer) == int(label) for answer, label in zip(answers, labels, strict=True))
print(f"   {right} of {len(labels)} rows are right")

# %% 5. deploy, and predict ten random images
print("5. deploy, and predict ten random images")
variant = ProductionVariant(
    variant_name="AllTraffic",
    model_name=name,
    instance_type="ml.m5.xlarge",
    initial_instance_count=1,
)
config = EndpointConfig.create(endpoint_config_name=name, production_variants=[variant])
endpoint = Endpoint.create(endpoint_name=name, endpoint_config_name=name)
try:
    endpoint.wait_for_status("InService", poll=1)
    for index in random.Random(0).sample(range(len(rows)), 10):  # noqa: S311 - a repeatable choice
        response = endpoint.invoke(body=rows[index], content_type="text/csv", accept="text/csv")
        probabilities = response.body.read().decode().strip().split(",")
        predicted = find_best(probabilities)
        score = float(probabilities[predicted])
        print(f"   image {index}: {labels[index]} is predicted as {predicted} with {score:.3f}")
finally:
    print("6. delete")
    endpoint.delete()
    config.delete()
    model.delete()
