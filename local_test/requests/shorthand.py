"""Build requests of the API from a few values, as command-line flags are.

What a flag means is visible with `--print-request`. Channels, outputs, models and other places are
paths or URIs. The functions are pure, except for `make_name`, which reads the clock.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Required, TypedDict, Unpack

from local_test import identity
from local_test.data import storage
from local_test.requests.endpoint_requests import EndpointRequests

ROLE = f"arn:aws:iam::{identity.ACCOUNT}:role/local-test"
PROGRAM_IMAGE = "program"
"""The image's name in requests for the process runner, which runs a program instead."""


def make_name(stem: str) -> str:
    """Return a new job name: the stem, and the UTC date and time to the millisecond."""
    now = dt.datetime.now(dt.UTC)
    return f"{stem}-{now:%Y-%m-%d-%H-%M-%S}-{now.microsecond // 1000:03d}"


class _JobValues(TypedDict, total=False):
    name: Required[str]
    image: Required[str]
    environment: Mapping[str, str] | None
    instance_type: str
    instance_count: int
    max_runtime_s: int


class TrainingValues(_JobValues, total=False):
    """What `training_request` takes."""

    channels: Required[Mapping[str, str]]
    """Place of the data, by channel."""
    output: Required[str]
    hyperparameters: Mapping[str, str] | None
    metric_definitions: Sequence[Mapping[str, str]]
    input_mode: str
    content_type: str | None
    checkpoints: str | None
    is_isolated: bool
    is_spot: bool


def training_request(**values: Unpack[TrainingValues]) -> dict[str, Any]:
    """Build a CreateTrainingJob request."""
    algorithm: dict[str, Any] = {
        "TrainingImage": values["image"],
        "TrainingInputMode": values.get("input_mode", "File"),
    }
    if definitions := values.get("metric_definitions"):
        algorithm["MetricDefinitions"] = [dict(definition) for definition in definitions]
    runtime_s = values.get("max_runtime_s", 86400)
    request: dict[str, Any] = {
        "TrainingJobName": values["name"],
        "AlgorithmSpecification": algorithm,
        "RoleArn": ROLE,
        "OutputDataConfig": {"S3OutputPath": storage.to_uri(values["output"])},
        "ResourceConfig": _make_cluster(values) | {"VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": runtime_s},
    }
    if hyperparameters := values.get("hyperparameters"):
        request["HyperParameters"] = dict(hyperparameters)
    if environment := values.get("environment"):
        request["Environment"] = dict(environment)
    if channels := values["channels"]:
        content_type = values.get("content_type")
        request["InputDataConfig"] = [
            _make_channel(name, place, content_type) for name, place in channels.items()
        ]
    if checkpoints := values.get("checkpoints"):
        request["CheckpointConfig"] = {
            "S3Uri": storage.to_uri(checkpoints),
            "LocalPath": "/opt/ml/checkpoints",
        }
    if values.get("is_isolated"):
        request["EnableNetworkIsolation"] = True
    if values.get("is_spot"):
        request["EnableManagedSpotTraining"] = True
        request["StoppingCondition"]["MaxWaitTimeInSeconds"] = 2 * runtime_s
    return request


def _make_cluster(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "InstanceType": values.get("instance_type", "ml.m5.large"),
        "InstanceCount": values.get("instance_count", 1),
    }


def _make_channel(name: str, place: str, content_type: str | None) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": _data_uri(place)}
    channel: dict[str, Any] = {"ChannelName": name, "DataSource": {"S3DataSource": source}}
    if content_type:
        channel["ContentType"] = content_type
    return channel


class ProcessingValues(_JobValues, total=False):
    """What `processing_request` takes."""

    inputs: Required[Mapping[str, str]]
    """Place of the data, by the input's name; it becomes `/opt/ml/processing/NAME`."""
    outputs: Required[Mapping[str, str]]
    """Place to store at, by the output's name."""
    entrypoint: Sequence[str]
    arguments: Sequence[str]


def processing_request(**values: Unpack[ProcessingValues]) -> dict[str, Any]:
    """Build a CreateProcessingJob request."""
    application: dict[str, Any] = {"ImageUri": values["image"]}
    if entrypoint := values.get("entrypoint"):
        application["ContainerEntrypoint"] = list(entrypoint)
    if arguments := values.get("arguments"):
        application["ContainerArguments"] = list(arguments)
    request: dict[str, Any] = {
        "ProcessingJobName": values["name"],
        "AppSpecification": application,
        "RoleArn": ROLE,
        "ProcessingResources": {"ClusterConfig": _make_cluster(values) | {"VolumeSizeInGB": 30}},
        "StoppingCondition": {"MaxRuntimeInSeconds": values.get("max_runtime_s", 86400)},
        "ProcessingInputs": [
            {
                "InputName": name,
                "S3Input": {
                    "S3Uri": _data_uri(place),
                    "LocalPath": f"/opt/ml/processing/{name}",
                    "S3DataType": "S3Prefix",
                    "S3InputMode": "File",
                },
            }
            for name, place in values["inputs"].items()
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": name,
                    "S3Output": {
                        "S3Uri": storage.to_uri(place),
                        "LocalPath": f"/opt/ml/processing/{name}",
                        "S3UploadMode": "EndOfJob",
                    },
                }
                for name, place in values["outputs"].items()
            ]
        },
    }
    if environment := values.get("environment"):
        request["Environment"] = dict(environment)
    return request


class TransformValues(TypedDict, total=False):
    """What `transform_request` takes; what is None is left to the container (BT-3)."""

    name: Required[str]
    model_name: Required[str]
    data: Required[str]
    output: Required[str]
    content_type: str
    accept: str | None
    split_type: str
    assemble_with: str
    strategy: str | None
    concurrency: int | None
    payload_megabytes: int | None
    compression: str
    input_filter: str | None
    output_filter: str | None
    is_joined: bool
    environment: Mapping[str, str] | None
    instance_type: str
    instance_count: int


def transform_request(**values: Unpack[TransformValues]) -> dict[str, Any]:
    """Build a CreateTransformJob request."""
    source = {"S3DataType": "S3Prefix", "S3Uri": _data_uri(values["data"])}
    target = {
        "S3OutputPath": storage.to_uri(values["output"]),
        "AssembleWith": values.get("assemble_with", "Line"),
        "Accept": values.get("accept"),
    }
    filters = {
        "InputFilter": values.get("input_filter"),
        "OutputFilter": values.get("output_filter"),
        "JoinSource": "Input" if values.get("is_joined") else None,
    }
    request = {
        "TransformJobName": values["name"],
        "ModelName": values["model_name"],
        "TransformInput": {
            "DataSource": {"S3DataSource": source},
            "ContentType": values.get("content_type", "text/csv"),
            "SplitType": values.get("split_type", "Line"),
            "CompressionType": values.get("compression", "None"),
        },
        "TransformOutput": _drop_none(target),
        "TransformResources": _make_cluster(values),
        "BatchStrategy": values.get("strategy"),
        "MaxConcurrentTransforms": values.get("concurrency"),
        "MaxPayloadInMB": values.get("payload_megabytes"),
        "Environment": dict(values.get("environment") or {}) or None,
        "DataProcessing": _drop_none(filters) or None,
    }
    return _drop_none(request)


def _drop_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


class EndpointValues(TypedDict, total=False):
    """What `endpoint_requests` takes."""

    name: Required[str]
    image: Required[str]
    model: Required[str | None]
    """An archive `*.tar.gz`, a directory, or None for no model."""
    environment: Mapping[str, str] | None
    instance_type: str
    instance_count: int
    is_isolated: bool
    startup_s: int | None
    inference_ami: str | None


def endpoint_requests(**values: Unpack[EndpointValues]) -> EndpointRequests:
    """Build the requests for an endpoint of one model."""
    name = values["name"]
    container: dict[str, Any] = {"Image": values["image"]}
    if environment := values.get("environment"):
        container["Environment"] = dict(environment)
    place = values["model"]
    if place and place.endswith(".tar.gz"):
        container["ModelDataUrl"] = storage.to_uri(place)
    elif place:
        source = {"S3Uri": _data_uri(place), "S3DataType": "S3Prefix", "CompressionType": "None"}
        container["ModelDataSource"] = {"S3DataSource": source}
    model: dict[str, Any] = {
        "ModelName": name,
        "PrimaryContainer": container,
        "ExecutionRoleArn": ROLE,
    }
    if values.get("is_isolated"):
        model["EnableNetworkIsolation"] = True
    variant: dict[str, Any] = {
        "VariantName": "AllTraffic",
        "ModelName": name,
        "InitialInstanceCount": values.get("instance_count", 1),
        "InstanceType": values.get("instance_type", "ml.m5.large"),
    }
    startup_s = values.get("startup_s")
    if startup_s is not None:
        variant["ContainerStartupHealthCheckTimeoutInSeconds"] = startup_s
    if ami := values.get("inference_ami"):
        variant["InferenceAmiVersion"] = ami
    return EndpointRequests(
        models={name: model},
        config={"EndpointConfigName": name, "ProductionVariants": [variant]},
        endpoint={"EndpointName": name, "EndpointConfigName": name},
    )


def _data_uri(place: str) -> str:
    """Return a URI that names the contents of a directory, or exactly one file."""
    is_directory = "://" not in place and Path(place).expanduser().is_dir()
    return storage.to_uri(place, is_directory=is_directory)
