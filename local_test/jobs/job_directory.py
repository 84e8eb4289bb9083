"""The job directory: the files that SageMaker puts below `/opt/ml` before a container starts.

Pure functions build the documents; only the last two functions write.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from container import contract
from local_test import identity
from local_test.data import channels

GROUP = "homogeneousCluster"
"""The instance group of a job without groups, as seen in files of SageMaker."""


PROCESS_FILE = "process.json"
"""Names the process that runs the job, so that a job that was cut off is not taken for running."""


def instance_groups(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the groups of `resourceconfig.json`; hosts are numbered across groups (DS-7)."""
    resources = request["ResourceConfig"]
    groups = resources.get("InstanceGroups") or [
        {
            "InstanceGroupName": GROUP,
            "InstanceType": resources.get("InstanceType", "ml.m5.large"),
            "InstanceCount": resources.get("InstanceCount", 1),
        }
    ]
    result, number = [], 0
    for group in groups:
        names = [f"algo-{number + index + 1}" for index in range(group["InstanceCount"])]
        number += len(names)
        entry = {
            "instance_group_name": group["InstanceGroupName"],
            "instance_type": group["InstanceType"],
        }
        result.append({**entry, "hosts": names})
    return result


def training_documents(
    request: Mapping[str, Any], host: str, network_interface: str = "eth0"
) -> dict[str, Any]:
    """Return the documents of `input/config` by file name, for one host of a training job."""
    groups = instance_groups(request)
    own = next(group for group in groups if host in group["hosts"])
    documents: dict[str, Any] = {
        "hyperparameters.json": {  # values are strings, empty ones are dropped (HP-1, HP-4)
            name: value for name, value in request.get("HyperParameters", {}).items() if value != ""
        },
        "inputdataconfig.json": {
            channel["ChannelName"]: _channel_entry(request, channel)
            for channel in channels_of(request, own)
        },
        "resourceconfig.json": {
            "current_host": host,
            "current_instance_type": own["instance_type"],
            "current_group_name": own["instance_group_name"],
            "hosts": sorted(name for group in groups for name in group["hosts"]),  # DS-1
            "instance_groups": groups,
            "network_interface_name": network_interface,
            "topology": None,
        },
        # Seen on the platform and documented nowhere (TF-2): they catch a program that reads
        # config/*.json.
        "init-config.json": {"undocumented": "for the platform's own start-up"},
        "metric-definition-regex.json": {},
        "trainingjobconfig.json": {"TrainingJobName": request["TrainingJobName"]},
        "upstreamoutputdataconfig.json": [request["OutputDataConfig"]],
        "debughookconfig.json": request.get("DebugHookConfig", {}),
        "profilerconfig.json": request.get("ProfilerConfig", {"DisableProfiler": True}),
    }
    if "CheckpointConfig" in request:
        documents["checkpointconfig.json"] = request["CheckpointConfig"]
    return documents


def channels_of(request: Mapping[str, Any], group: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the channels that an instance group receives (DS-7)."""
    return [
        channel
        for channel in request.get("InputDataConfig", ())
        if group["instance_group_name"]
        in channel["DataSource"]["S3DataSource"].get(
            "InstanceGroupNames", [group["instance_group_name"]]
        )
    ]


def _channel_entry(request: Mapping[str, Any], channel: Mapping[str, Any]) -> dict[str, str]:
    mode = channels.input_mode(request, channel)
    source = channel["DataSource"]["S3DataSource"]
    entry = {
        # IN-3: the newest guide's form
        "TrainingInputMode": {"FastFile": "File"}.get(mode, mode),
        "S3DistributionType": source.get("S3DataDistributionType", "FullyReplicated"),
        "RecordWrapperType": channel.get("RecordWrapperType", "None"),
    }
    if channel.get("ContentType"):
        entry["ContentType"] = channel["ContentType"]
    return entry


def training_environment(request: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables of a training container; SageMaker's win over the request's (TF-4)."""
    name = request["TrainingJobName"]
    is_isolated = request.get("EnableNetworkIsolation", False)
    return {
        **identity.environment(request.get("Environment", {}), is_isolated=is_isolated),
        contract.TRAINING_JOB_NAME_VARIABLE: name,
        contract.TRAINING_JOB_ARN_VARIABLE: identity.arn("training-job", name),
        "SAGEMAKER_METRICS_DIRECTORY": "/opt/ml/output/metrics/sagemaker",
        "SAGEMAKER_MANAGED_WARMPOOL_CACHE_DIRECTORY": "/opt/ml/sagemaker/warmpoolcache",
    }


def processing_documents(
    request: Mapping[str, Any], host: str, hosts: Sequence[str]
) -> dict[str, Any]:
    """Return the documents of `/opt/ml/config` by file name, for one host (PR-1)."""
    name = request["ProcessingJobName"]
    application = {
        "ContainerEntrypoint": None,
        "ContainerArguments": None,
        **request["AppSpecification"],
    }
    return {
        "processingjobconfig.json": {
            "ProcessingJobArn": identity.arn("processing-job", name),
            "ProcessingJobName": name,
            "AppSpecification": application,
            "Environment": request.get("Environment", {}),
            "ProcessingInputs": request.get("ProcessingInputs", []),
            "ProcessingOutputConfig": {
                "KmsKeyId": None,
                **request.get("ProcessingOutputConfig", {"Outputs": []}),
            },
            "ProcessingResources": request["ProcessingResources"],
            "RoleArn": request["RoleArn"],
            "StoppingCondition": request.get("StoppingCondition", {"MaxRuntimeInSeconds": 86400}),
        },
        "resourceconfig.json": {"current_host": host, "hosts": sorted(hosts)},
    }


def make_training_tree(
    root: Path, request: Mapping[str, Any], host: str, network_interface: str = "eth0"
) -> contract.Layout:
    """Create a host's `/opt/ml` for a training job, without the channels' data (TF-1, TF-2)."""
    layout = contract.Layout(root)
    for directory in (
        layout.input_data,
        layout.model,
        layout.output_data,
        root / "output/metrics/sagemaker",
        root / "sagemaker/warmpoolcache",
    ):
        directory.mkdir(parents=True, exist_ok=True)
    write_documents(
        layout.hyperparameters.parent, training_documents(request, host, network_interface)
    )
    return layout


def write_documents(directory: Path, documents: Mapping[str, Any]) -> None:
    """Write each document as a JSON file."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, document in documents.items():
        (directory / name).write_text(json.dumps(document), encoding="utf-8")
