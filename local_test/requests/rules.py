"""What the service refuses although the request fits its shapes: rules between fields.

Each function returns one line per fault. Contract IDs in brackets are defined in docs/contract.md.
"""

import collections
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from container.errors import UserError
from local_test import patterns
from local_test.requests import component_rules, json_path, model_containers, variant_rules
from local_test.requests.deployments import deployment_rules

_PAYLOAD_LIMIT_MB: Final = 100


def find_faults(operation: str, fields: Mapping[str, Any]) -> list[str]:
    """Return a line for each broken rule of an operation's request that fits its shapes."""
    rules = _RULES.get(operation)
    return rules(fields) if rules else []


def _check_training(fields: Mapping[str, Any]) -> list[str]:
    faults = [
        f"{name}: is required to train with your own container"
        for name in ("AlgorithmSpecification", "ResourceConfig")
        if name not in fields
    ]
    faults += _check_instances(fields.get("ResourceConfig", {"InstanceCount": 1}))
    algorithm = fields.get("AlgorithmSpecification", {"TrainingImage": ""})
    if "TrainingImage" not in algorithm:
        faults.append("AlgorithmSpecification.TrainingImage: is required")
    faults += _check_patterns(algorithm.get("MetricDefinitions", ()))
    stopping = fields.get("StoppingCondition", {})
    if fields.get("EnableManagedSpotTraining"):
        faults += _check_spot(stopping)
    elif stopping.get("MaxWaitTimeInSeconds"):
        faults.append(
            "StoppingCondition.MaxWaitTimeInSeconds: only spot training waits; leave it out, or "
            "set EnableManagedSpotTraining (SP-1)"
        )
    checkpoints = fields.get("CheckpointConfig", {}).get("LocalPath", "/opt/ml/checkpoints")
    faults += _check_local_path("CheckpointConfig", checkpoints, "/opt/ml/")
    job_mode = algorithm.get("TrainingInputMode", "File")
    names: list[str] = []
    for channel in fields.get("InputDataConfig", ()):
        if channel["ChannelName"] in (".", ".."):
            faults.append(f"InputDataConfig: {channel['ChannelName']!r} cannot name a directory")
        if channel["ChannelName"] in names:
            faults.append(f"InputDataConfig: channel {channel['ChannelName']!r} is defined twice")
        names.append(channel["ChannelName"])
        faults += _check_channel(channel, channel.get("InputMode", job_mode))
    return faults


def _check_patterns(definitions: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for definition in definitions:
        try:
            patterns.compile_pattern(definition["Regex"])
        except UserError as error:
            yield f"MetricDefinitions: Regex of {definition['Name']!r}: {error}"


def _check_instances(resources: Mapping[str, Any]) -> list[str]:
    if "InstanceCount" not in resources and not resources.get("InstanceGroups"):
        return [
            "ResourceConfig: either InstanceType and InstanceCount, or InstanceGroups, is required"
        ]
    counts = [resources, *resources.get("InstanceGroups", ())]
    return [
        "ResourceConfig: InstanceCount must be at least 1, found 0"
        for item in counts
        if item.get("InstanceCount") == 0
    ]


def _check_spot(stopping: Mapping[str, Any]) -> list[str]:
    longest_s = stopping.get("MaxWaitTimeInSeconds")
    runtime_s = stopping.get("MaxRuntimeInSeconds", 86400)
    if longest_s is not None and longest_s >= runtime_s:
        return []
    fault = (
        f"StoppingCondition.MaxWaitTimeInSeconds: found {longest_s}; spot training needs at least "
        f"MaxRuntimeInSeconds, {runtime_s} (SP-1)"
    )
    return [fault]


def _check_channel(channel: Mapping[str, Any], mode: str) -> list[str]:
    label = f"InputDataConfig channel {channel['ChannelName']!r}"
    source = channel["DataSource"].get("S3DataSource")
    if source is None:
        return [f"{label}: DataSource.S3DataSource is required"]
    data_type = source["S3DataType"]
    needs_pipe = {
        "CompressionType Gzip": channel.get("CompressionType", "None") != "None",
        "RecordWrapperType RecordIO": channel.get("RecordWrapperType", "None") != "None",
        "AugmentedManifestFile": data_type == "AugmentedManifestFile",
    }
    faults = [
        f"{label}: {setting} needs InputMode Pipe, found {mode} (IN-5, IN-9)"
        for setting, is_set in needs_pipe.items()
        if is_set and mode != "Pipe"
    ]
    if data_type != "S3Prefix" and mode == "FastFile":
        faults.append(f"{label}: InputMode FastFile needs S3Prefix, found {data_type} (IN-3)")
    if data_type == "Converse":
        faults.append(f"{label}: S3DataType Converse is only for SageMaker's own models")
    return faults


def _check_processing(fields: Mapping[str, Any]) -> list[str]:
    inputs = fields.get("ProcessingInputs", ())
    outputs = fields.get("ProcessingOutputConfig", {}).get("Outputs", ())
    faults = _check_unique("InputName", inputs) + _check_unique("OutputName", outputs)
    places = [(item["InputName"], item.get("S3Input", {})) for item in inputs]
    places += [(item["OutputName"], item.get("S3Output", {})) for item in outputs]
    for name, place in places:
        faults += _check_local_path(name, place.get("LocalPath", ""), "/opt/ml/processing/")
        faults += _check_place(name, place)
    return faults


def _check_unique(member: str, items: Sequence[Mapping[str, Any]]) -> list[str]:
    counts = collections.Counter(item[member] for item in items)
    return [
        f"{member} {name!r} is used twice; each needs a name of its own"
        for name, count in counts.items()
        if count > 1
    ]


def _check_local_path(label: str, path: str, base: str) -> list[str]:
    """Check that a path in the container leads below `base`, and nowhere else of this machine."""
    parts = path.removeprefix(base).split("/")
    if path.startswith(base) and any(parts) and ".." not in parts and "\0" not in path:
        return []
    return [f"{label}: LocalPath must be below {base}, found {path!r} (PR-2, CK-1)"]


def _check_place(name: str, place: Mapping[str, Any]) -> list[str]:
    """Check an input's or an output's values."""
    if place.get("S3CompressionType") == "Gzip" and place.get("S3InputMode") != "Pipe":
        return [f"{name}: S3CompressionType Gzip needs S3InputMode Pipe (PR-2)"]
    return []


def _check_transform(fields: Mapping[str, Any]) -> list[str]:
    source = fields["TransformInput"]
    split_type = source.get("SplitType", "None")
    data_type = source["DataSource"]["S3DataSource"]["S3DataType"]
    faults = []
    if data_type not in ("S3Prefix", "ManifestFile"):
        faults.append(
            f"TransformInput: S3DataType must be S3Prefix or ManifestFile, found {data_type}"
        )
    if split_type == "None" and fields.get("BatchStrategy") == "MultiRecord":
        faults.append("BatchStrategy: MultiRecord needs a SplitType (BT-5)")
    payload_mb = fields.get("MaxPayloadInMB", 0)
    if max(1, fields.get("MaxConcurrentTransforms", 1)) * payload_mb > _PAYLOAD_LIMIT_MB:
        faults.append(
            f"MaxPayloadInMB: it, and its product with MaxConcurrentTransforms, may be at most "
            f"{_PAYLOAD_LIMIT_MB}; found {payload_mb} (BT-11)"
        )
    return faults + _check_data_processing(fields, split_type)


def _check_data_processing(fields: Mapping[str, Any], split_type: str) -> list[str]:
    processing = fields.get("DataProcessing", {})
    faults = []
    for name in ("InputFilter", "OutputFilter"):
        try:
            json_path.parse(processing.get(name, "$"))
        except UserError as error:
            faults.append(f"DataProcessing.{name}: {error} (BT-12)")
    assembly = fields["TransformOutput"].get("AssembleWith", "None")
    is_joined = processing.get("JoinSource", "None") != "None"
    if is_joined and (split_type, assembly) not in (("Line", "Line"), ("None", "None")):
        faults.append(
            "DataProcessing.JoinSource: SplitType and AssembleWith must both be Line or both be "
            f"None, found {split_type} and {assembly} (BT-12)"
        )
    return faults


_RULES: Final[Mapping[str, Callable[[Mapping[str, Any]], list[str]]]] = {
    "CreateTrainingJob": _check_training,
    "CreateProcessingJob": _check_processing,
    "CreateTransformJob": _check_transform,
    "CreateModel": model_containers.find_faults,
    "CreateEndpointConfig": variant_rules.find_faults,
    "CreateEndpoint": deployment_rules.find_faults,
    "UpdateEndpoint": deployment_rules.find_faults,
    "CreateInferenceComponent": component_rules.find_faults,
    "UpdateInferenceComponent": component_rules.find_update_faults,
}
