"""The MNIST walk-through with the SageMaker SDK v2 (`pip install "sagemaker<3"`).

The same program runs on AWS and on the local AWS; only the environment differs:

    python -m local_test up
    eval "$(python -m local_test env)"
    python examples/mnist_walkthrough_sdk_v2.py --data DIRECTORY

DIRECTORY holds `mnist_train.csv` and `mnist_test.csv` (or `.csv.gz`): the label, then the pixels of
one image a row. On AWS, name the image and the role that SageMaker takes:
`--image 111122223333.dkr.ecr.../byo:cpu --role arn:aws:iam::...`.
"""

import argparse
import gzip
import random
import sys
import tempfile
from pathlib import Path

import sagemaker
from botocore.exceptions import BotoCoreError, ClientError
from sagemaker.deserializers import CSVDeserializer
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.s3 import S3Downloader, S3Uploader
from sagemaker.serializers import CSVSerializer
from sagemaker.tuner import ContinuousParameter, HyperparameterTuner

METRICS = [
    {"Name": name, "Regex": rf"\b{name}=([0-9.eE+-]+);"}
    for name in ("validation_accuracy", "test_accuracy", "test_f1")
]


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
    session = sagemaker.Session()
    place = f"s3://{session.default_bucket()}/mnist-sdk-v2"
except (BotoCoreError, ClientError, ValueError) as error:
    sys.exit(
        f"cannot use AWS: {error}; for the local AWS, run `python -m local_test up` and then "
        '`eval "$(python -m local_test env)"` in this shell (with the package, `byo up`, `byo env`)'
    )

# %% 1. upload
print("1. upload")
train, test = (find_file(options.data, f"mnist_{part}.csv") for part in ("train", "test"))
channels = {
    channel: TrainingInput(
        S3Uploader.upload(str(path), f"{place}/{channel}", sagemaker_session=session),
        content_type="text/csv",
    )
    for channel, path in (("training", train), ("testing", test))
}
labels, rows = read_rows(test)

# %% 2. train, with the container's log
print("2. train, with the container's log")
estimator = Estimator(
    options.image,
    options.role,
    instance_count=1,
    instance_type="ml.m5.xlarge",
    hyperparameters={"epochs": options.epochs, "seed": 0},
    metric_definitions=METRICS,
    sagemaker_session=session,
    base_job_name="mnist-sdk-v2",
)
estimator.fit(channels, logs="All")

# %% 3. attach to the job by its name, and read its metrics
print("3. attach to the job by its name, and read its metrics")
attached = Estimator.attach(estimator.latest_training_job.name, sagemaker_session=session)
print(attached.training_job_analytics.dataframe()[["metric_name", "value"]].to_string(index=False))

# %% 4. tune the learning rate
print("4. tune the learning rate")
tuner = HyperparameterTuner(
    estimator,
    objective_metric_name="test_accuracy",
    hyperparameter_ranges={
        "learning_rate": ContinuousParameter(0.001, 0.1, scaling_type="Logarithmic")
    },
    metric_definitions=METRICS,
    max_jobs=options.tuning_jobs,
    max_parallel_jobs=1,
    base_tuning_job_name="mnist-v2",
)
tuner.fit(channels, include_cls_metadata=False)
print(
    tuner.analytics()
    .dataframe()[["TrainingJobName", "FinalObjectiveValue", "learning_rate"]]
    .to_string(index=False)
)
best = tuner.best_estimator()

# %% 5. transform the test set
print("5. transform the test set")
with tempfile.TemporaryDirectory() as directory:
    path = Path(directory, "rows.csv")
    path.write_text("\n".join(rows), encoding="ascii")
    unlabeled = S3Uploader.upload(str(path), f"{place}/unlabeled", sagemaker_session=session)
transformer = best.transformer(
    1, "ml.m5.xlarge", strategy="MultiRecord", assemble_with="Line", accept="text/csv"
)
transformer.transform(unlabeled, content_type="text/csv", split_type="Line", logs=True)
body = S3Downloader.read_file(f"{transformer.output_path}/rows.csv.out", sagemaker_session=session)
answers = [line.split(",") for line in body.splitlines()]
right = sum(find_best(answer) == int(label) for answer, label in zip(answers, labels, strict=True))
print(f"   {right} of {len(labels)} rows are right")

# %% 6. deploy, update, and predict ten random images
print("6. deploy, update, and predict ten random images")
# `wait=True` would look every 30 seconds.
predictor = best.deploy(
    1, "ml.m5.xlarge", serializer=CSVSerializer(), deserializer=CSVDeserializer(), wait=False
)
try:
    session.wait_for_endpoint(predictor.endpoint_name, poll=2)
    predictor.update_endpoint(initial_instance_count=2, instance_type="ml.m5.xlarge", wait=False)
    session.wait_for_endpoint(predictor.endpoint_name, poll=2)
    for index in random.Random(0).sample(range(len(rows)), 10):  # noqa: S311 - a repeatable choice
        [probabilities] = predictor.predict(rows[index])
        predicted = find_best(probabilities)
        score = float(probabilities[predicted])
        print(f"   image {index}: {labels[index]} is predicted as {predicted} with {score:.3f}")
finally:
    print("7. delete")
    predictor.delete_model()
    predictor.delete_endpoint(delete_endpoint_config=True)
