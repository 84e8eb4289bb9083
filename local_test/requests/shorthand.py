"""From a few values, as command-line flags give them, to whole requests in the API's shapes.

Rules of this file: pure but for the clock in a job's name; what a flag means is visible with
`--print-request`.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from container.errors import UserError
from local_test import identity
from local_test.data import storage
from local_test.requests.endpoint_requests import EndpointRequests

ROLE = f"arn:aws:iam::{identity.ACCOUNT}:role/local-test"
PROGRAM_IMAGE = "program"
"""The image's name in requests for the process runner, which runs a program instead."""


def make_name(stem: str) -> str:
    """Give a job name that no earlier job has: stem, UTC date and time to the millisecond."""
    now = dt.datetime.now(dt.UTC)
    return f"{stem}-{now:%Y-%m-%d-%H-%M-%S}-{now.microsecond // 1000:03d}"


def guess_value(text: str) -> Any:
    """Give the number, boolean, list or object that a hyperparameter's text looks like, else the text."""
    try:
        return json.loads({"True": "true", "False": "false", "None": "null"}.get(text, text))
    except ValueError:
        return text


def encode_hyperparameters(values: Mapping[str, str], encoding: str) -> dict[str, str]:
    """Write hyperparameters as the `api`, an SDK (`sdk2-json`, `sdk2-str`, `sdk3`) or a `tuner` does (HP-2, HP-3).

    Raises: UserError for another encoding.
    """
    if encoding not in ENCODINGS:
        message = f"unknown encoding {encoding!r}; choose one of {', '.join(ENCODINGS)}"
        raise UserError(message)
    encode = ENCODINGS[encoding]
    return {
        name: text if encode is None else encode(guess_value(text)) for name, text in values.items()
    }


def _encode_number(value: Any) -> str:
    """Write a float as Java does, 1.0E-4, and a category in quotes (HP-6)."""
    if isinstance(value, float):
        mantissa, exponent = f"{value:.15E}".split("E")
        mantissa = mantissa.rstrip("0")
        return f"{mantissa}{'0' if mantissa.endswith('.') else ''}E{int(exponent)}"
    return json.dumps(value)


ENCODINGS: dict[str, Callable[[Any], str] | None] = {
    "api": None,
    "sdk2-json": json.dumps,
    "sdk2-str": str,
    "sdk3": lambda value: value if isinstance(value, str) else json.dumps(value),
    "tuner": _encode_number,
}


def training_request(
    *,
    name: str,
    image: str,
    channels: Mapping[str, str],
    output: str,
    hyperparameters: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    metric_definitions: Sequence[Mapping[str, str]] = (),
    input_mode: str = "File",
    content_type: str | None = None,
    instance_type: str = "ml.m5.large",
    instance_count: int = 1,
    max_runtime_s: int = 86400,
    checkpoints: str | None = None,
    is_isolated: bool = False,
    is_spot: bool = False,
) -> dict[str, Any]:
    """Build a CreateTrainingJob request; channels, output and checkpoints are paths or URIs."""
    algorithm: dict[str, Any] = {"TrainingImage": image, "TrainingInputMode": input_mode}
    if metric_definitions:
        algorithm["MetricDefinitions"] = [dict(definition) for definition in metric_definitions]
    request: dict[str, Any] = {
        "TrainingJobName": name,
        "AlgorithmSpecification": algorithm,
        "RoleArn": ROLE,
        "OutputDataConfig": {"S3OutputPath": storage.to_uri(output)},
        "ResourceConfig": {
            "InstanceType": instance_type,
            "InstanceCount": instance_count,
            "VolumeSizeInGB": 30,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": max_runtime_s},
    }
    if hyperparameters:
        request["HyperParameters"] = dict(hyperparameters)
    if environment:
        request["Environment"] = dict(environment)
    if channels:
        request["InputDataConfig"] = [
            {
                "ChannelName": channel,
                "DataSource": {
                    "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": _data_uri(place)}
                },
                **({"ContentType": content_type} if content_type else {}),
            }
            for channel, place in channels.items()
        ]
    if checkpoints:
        request["CheckpointConfig"] = {
            "S3Uri": storage.to_uri(checkpoints),
            "LocalPath": "/opt/ml/checkpoints",
        }
    if is_isolated:
        request["EnableNetworkIsolation"] = True
    if is_spot:
        request["EnableManagedSpotTraining"] = True
        request["StoppingCondition"]["MaxWaitTimeInSeconds"] = 2 * max_runtime_s
    return request


def processing_request(
    *,
    name: str,
    image: str,
    inputs: Mapping[str, str],
    outputs: Mapping[str, str],
    environment: Mapping[str, str] | None = None,
    entrypoint: Sequence[str] = (),
    arguments: Sequence[str] = (),
    instance_type: str = "ml.m5.large",
    instance_count: int = 1,
    max_runtime_s: int = 86400,
) -> dict[str, Any]:
    """Build a CreateProcessingJob request; an input or output NAME lies at `/opt/ml/processing/NAME`."""
    application: dict[str, Any] = {"ImageUri": image}
    if entrypoint:
        application["ContainerEntrypoint"] = list(entrypoint)
    if arguments:
        application["ContainerArguments"] = list(arguments)
    return {
        "ProcessingJobName": name,
        "AppSpecification": application,
        "RoleArn": ROLE,
        "ProcessingResources": {
            "ClusterConfig": {
                "InstanceType": instance_type,
                "InstanceCount": instance_count,
                "VolumeSizeInGB": 30,
            }
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": max_runtime_s},
        **({"Environment": dict(environment)} if environment else {}),
        "ProcessingInputs": [
            {
                "InputName": key,
                "S3Input": {
                    "S3Uri": _data_uri(place),
                    "LocalPath": f"/opt/ml/processing/{key}",
                    "S3DataType": "S3Prefix",
                    "S3InputMode": "File",
                },
            }
            for key, place in inputs.items()
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": key,
                    "S3Output": {
                        "S3Uri": storage.to_uri(place),
                        "LocalPath": f"/opt/ml/processing/{key}",
                        "S3UploadMode": "EndOfJob",
                    },
                }
                for key, place in outputs.items()
            ]
        },
    }


def transform_request(
    *,
    name: str,
    model_name: str,
    data: str,
    output: str,
    content_type: str = "text/csv",
    accept: str | None = None,
    split_type: str = "Line",
    assemble_with: str = "Line",
    strategy: str | None = None,
    concurrency: int | None = None,
    payload_megabytes: int | None = None,
    compression: str = "None",
    input_filter: str | None = None,
    output_filter: str | None = None,
    is_joined: bool = False,
    environment: Mapping[str, str] | None = None,
    instance_type: str = "ml.m5.large",
    instance_count: int = 1,
) -> dict[str, Any]:
    """Build a CreateTransformJob request; what is None is left to the container (BT-3)."""
    request: dict[str, Any] = {
        "TransformJobName": name,
        "ModelName": model_name,
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": _data_uri(data)}},
            "ContentType": content_type,
            "SplitType": split_type,
            "CompressionType": compression,
        },
        "TransformOutput": {
            "S3OutputPath": storage.to_uri(output),
            "AssembleWith": assemble_with,
            **({"Accept": accept} if accept else {}),
        },
        "TransformResources": {"InstanceType": instance_type, "InstanceCount": instance_count},
    }
    filters = {
        "InputFilter": input_filter,
        "OutputFilter": output_filter,
        "JoinSource": "Input" if is_joined else None,
    }
    optional = {
        "BatchStrategy": strategy,
        "MaxConcurrentTransforms": concurrency,
        "MaxPayloadInMB": payload_megabytes,
        "Environment": dict(environment) if environment else None,
        "DataProcessing": {key: value for key, value in filters.items() if value is not None}
        or None,
    }
    return request | {key: value for key, value in optional.items() if value is not None}


def endpoint_requests(
    *,
    name: str,
    image: str,
    model: str | None,
    environment: Mapping[str, str] | None = None,
    instance_type: str = "ml.m5.large",
    instance_count: int = 1,
    is_isolated: bool = False,
    startup_s: int | None = None,
) -> EndpointRequests:
    """Build the requests for an endpoint of one model: an archive `*.tar.gz`, a directory, or none at all."""
    container: dict[str, Any] = {"Image": image}
    if environment:
        container["Environment"] = dict(environment)
    if model and model.endswith(".tar.gz"):
        container["ModelDataUrl"] = storage.to_uri(model)
    elif model:
        source = {"S3Uri": _data_uri(model), "S3DataType": "S3Prefix", "CompressionType": "None"}
        container["ModelDataSource"] = {"S3DataSource": source}
    variant: dict[str, Any] = {
        "VariantName": "AllTraffic",
        "ModelName": name,
        "InitialInstanceCount": instance_count,
        "InstanceType": instance_type,
    }
    if startup_s is not None:
        variant["ContainerStartupHealthCheckTimeoutInSeconds"] = startup_s
    return EndpointRequests(
        models={
            name: {
                "ModelName": name,
                "PrimaryContainer": container,
                "ExecutionRoleArn": ROLE,
                **({"EnableNetworkIsolation": True} if is_isolated else {}),
            }
        },
        config={"EndpointConfigName": name, "ProductionVariants": [variant]},
        endpoint={"EndpointName": name, "EndpointConfigName": name},
    )


def _data_uri(place: str) -> str:
    """Give a URI that names a directory's contents, or exactly one file."""
    return storage.to_uri(
        place, is_directory="://" not in place and Path(place).expanduser().is_dir()
    )
