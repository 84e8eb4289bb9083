"""What happens here to every field of a request: emulated, without effect, or refused. Nothing is dropped in silence.

A field's treatment is that of its longest prefix in the table. `docs/local-sagemaker-fields.md` is
generated from it:
`python -m local_test fields`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from container.errors import UserError
from local_test.requests import json_path, validation

Kind = Literal["emulated", "without effect", "refused"]


@dataclass(frozen=True)
class Treatment:
    """What happens to a field, and why."""

    kind: Kind
    note: str


def _emulated(note: str = "") -> Treatment:
    return Treatment("emulated", note)


def _ignored(note: str) -> Treatment:
    return Treatment("without effect", note)


def _refused(note: str) -> Treatment:
    return Treatment("refused", note)


_BILLING = _ignored("tags and cost belong to the account")
_CLOUD_ONLY = _ignored("needs the account's own services")
_ROLE = _ignored("this machine's credentials are used for s3:// URIs")
_KMS = _ignored("files lie on this machine unencrypted")
_VPC = _ignored("containers use this machine's network")

TREATMENTS: Final[Mapping[str, Mapping[str, Treatment]]] = {
    "CreateTrainingJob": {
        "TrainingJobName": _emulated("names the job's directory"),
        "HyperParameters": _emulated("strings; empty ones are dropped (HP-4)"),
        "AlgorithmSpecification": _emulated(),
        "AlgorithmSpecification.TrainingImage": _emulated(
            "the Docker runner's image; the process runner runs its program"
        ),
        "AlgorithmSpecification.AlgorithmName": _refused(
            "algorithms of the marketplace cannot be pulled"
        ),
        "AlgorithmSpecification.MetricDefinitions": _emulated("applied to every log line (HPO-1)"),
        "AlgorithmSpecification.EnableSageMakerMetricsTimeSeries": _CLOUD_ONLY,
        "AlgorithmSpecification.TrainingImageConfig": _ignored(
            "the image comes from this machine's engine"
        ),
        "RoleArn": _ROLE,
        "InputDataConfig": _emulated("file:// and s3://"),
        "InputDataConfig[].DataSource.FileSystemDataSource": _refused(
            "no EFS or FSx here; use a file:// channel"
        ),
        "InputDataConfig[].DataSource.DatasetSource": _refused("hub content cannot be fetched"),
        "InputDataConfig[].DataSource.S3DataSource.ModelAccessConfig": _refused(
            "hub content cannot be fetched"
        ),
        "InputDataConfig[].DataSource.S3DataSource.HubAccessConfig": _refused(
            "hub content cannot be fetched"
        ),
        "OutputDataConfig": _emulated("file:// and s3:// (OUT-3, OUT-4)"),
        "OutputDataConfig.KmsKeyId": _KMS,
        "ResourceConfig": _emulated(),
        "ResourceConfig.InstanceType": _emulated(
            "written to resourceconfig.json; memory and processors stay this machine's"
        ),
        "ResourceConfig.VolumeSizeInGB": _ignored("the disk is this machine's"),
        "ResourceConfig.VolumeKmsKeyId": _KMS,
        "ResourceConfig.KeepAlivePeriodInSeconds": _ignored("there is no warm pool"),
        "ResourceConfig.TrainingPlanArn": _refused(
            "training plans reserve the platform's machines"
        ),
        "ResourceConfig.InstancePlacementConfig": _refused("ultra servers are the platform's"),
        "ResourceConfig.InstancePreferences": _refused("name one InstanceType"),
        "VpcConfig": _VPC,
        "StoppingCondition": _emulated(),
        "StoppingCondition.MaxPendingTimeInSeconds": _ignored("nothing waits for capacity here"),
        "Tags": _BILLING,
        "EnableNetworkIsolation": _emulated("no way out of the machine (SEC-1)"),
        "EnableInterContainerTrafficEncryption": _ignored("peers are on one machine (SEC-5)"),
        "EnableManagedSpotTraining": _emulated("interruptions come as faults (SP-1)"),
        "CheckpointConfig": _emulated("live copies of what changes (CK-1, CK-2)"),
        "DebugHookConfig": _ignored(
            "debughookconfig.json is written, nothing is collected (DBG-2)"
        ),
        "DebugRuleConfigurations": _CLOUD_ONLY,
        "TensorBoardOutputConfig": _ignored("nothing is uploaded"),
        "ExperimentConfig": _CLOUD_ONLY,
        "ProfilerConfig": _ignored("profilerconfig.json is written, nothing is collected (DBG-2)"),
        "ProfilerRuleConfigurations": _CLOUD_ONLY,
        "Environment": _emulated("TF-5"),
        "RetryStrategy": _emulated("faults that stand for internal errors are retried (OUT-11)"),
        "RemoteDebugConfig": _ignored("use the engine's exec"),
        "InfraCheckConfig": _ignored("checks the platform's machines"),
        "SessionChainingConfig": _CLOUD_ONLY,
        "ServerlessJobConfig": _refused("the platform's own fine-tuning, not a container"),
        "MlflowConfig": _CLOUD_ONLY,
        "ModelPackageConfig": _CLOUD_ONLY,
    },
    "CreateProcessingJob": {
        "ProcessingJobName": _emulated("names the job's directory"),
        "ProcessingInputs": _emulated("file:// and s3:// (PR-2)"),
        "ProcessingInputs[].AppManaged": _ignored("the container fetches such an input itself"),
        "ProcessingInputs[].DatasetDefinition": _refused(
            "no Athena or Redshift here; use an S3Input"
        ),
        "ProcessingInputs[].S3Input.S3InputMode": _emulated("File; Pipe is refused"),
        "ProcessingOutputConfig": _emulated("uploaded at the end of the job"),
        "ProcessingOutputConfig.KmsKeyId": _KMS,
        "ProcessingOutputConfig.Outputs[].FeatureStoreOutput": _refused("no feature store here"),
        "ProcessingOutputConfig.Outputs[].AppManaged": _ignored(
            "the container stores such an output itself"
        ),
        "ProcessingResources": _emulated(),
        "ProcessingResources.ClusterConfig.VolumeSizeInGB": _ignored("the disk is this machine's"),
        "ProcessingResources.ClusterConfig.VolumeKmsKeyId": _KMS,
        "StoppingCondition": _emulated("SIGTERM, the grace, SIGKILL"),
        "AppSpecification": _emulated("entry point and arguments as with the engine (PR-5)"),
        "Environment": _emulated(),
        "NetworkConfig": _VPC,
        "NetworkConfig.EnableNetworkIsolation": _emulated("no way out of the machine (SEC-1)"),
        "RoleArn": _ROLE,
        "Tags": _BILLING,
        "ExperimentConfig": _CLOUD_ONLY,
    },
    "CreateTransformJob": {
        "TransformJobName": _emulated("names the job's directory"),
        "ModelName": _emulated(),
        "MaxConcurrentTransforms": _emulated("BT-3"),
        "ModelClientConfig": _emulated("BT-10"),
        "MaxPayloadInMB": _emulated("BT-5, BT-6"),
        "BatchStrategy": _emulated("BT-5"),
        "Environment": _emulated("BT-2"),
        "TransformInput": _emulated("file:// and s3://; Gzip, Line, RecordIO, TFRecord"),
        "TransformOutput": _emulated("BT-8"),
        "TransformOutput.KmsKeyId": _KMS,
        "DataCaptureConfig": _refused("not emulated for batch"),
        "TransformResources": _emulated("InstanceCount servers; an object never spans two"),
        "TransformResources.VolumeKmsKeyId": _KMS,
        "TransformResources.TransformAmiVersion": _ignored("the driver is this machine's (GPU-1)"),
        "DataProcessing": _emulated("BT-12"),
        "Tags": _BILLING,
        "ExperimentConfig": _CLOUD_ONLY,
    },
    "CreateModel": {
        "ModelName": _emulated(),
        "PrimaryContainer": _emulated(),
        "PrimaryContainer.ImageConfig": _ignored("the image comes from this machine's engine"),
        "PrimaryContainer.ModelPackageName": _refused("name an image and model data"),
        "PrimaryContainer.InferenceSpecificationName": _refused("name an image and model data"),
        "PrimaryContainer.AdditionalModelDataSources": _refused("not emulated yet"),
        "PrimaryContainer.ModelDataSource.S3DataSource.ModelAccessConfig": _refused(
            "hub content cannot be fetched"
        ),
        "PrimaryContainer.ModelDataSource.S3DataSource.HubAccessConfig": _refused(
            "hub content cannot be fetched"
        ),
        "Containers": _refused("inference pipelines are not emulated yet"),
        "InferenceExecutionConfig": _refused("inference pipelines are not emulated yet"),
        "ExecutionRoleArn": _ROLE,
        "Tags": _BILLING,
        "VpcConfig": _VPC,
        "EnableNetworkIsolation": _emulated("no way out of the machine (SEC-1)"),
    },
    "CreateEndpointConfig": {
        "EndpointConfigName": _emulated(),
        "ProductionVariants": _emulated(),
        "ProductionVariants[].AcceleratorType": _refused("Elastic Inference is gone"),
        "ProductionVariants[].CoreDumpConfig": _ignored(
            "core dumps go where this machine's kernel puts them"
        ),
        "ProductionVariants[].ServerlessConfig": _refused("not emulated yet"),
        "ProductionVariants[].VolumeSizeInGB": _ignored("the disk is this machine's"),
        "ProductionVariants[].EnableSSMAccess": _ignored("use the engine's exec"),
        "ProductionVariants[].ManagedInstanceScaling": _ignored(
            "the instance count stays as it is"
        ),
        "ProductionVariants[].RoutingConfig": _ignored("instances take turns"),
        "ProductionVariants[].InferenceAmiVersion": _ignored(
            "the driver is this machine's (GPU-1)"
        ),
        "ProductionVariants[].CapacityReservationConfig": _ignored(
            "nothing waits for capacity here"
        ),
        "ProductionVariants[].InstancePools": _refused("name one InstanceType"),
        "DataCaptureConfig": _emulated("DC-1; stored when the endpoint stops or is updated"),
        "DataCaptureConfig.KmsKeyId": _KMS,
        "Tags": _BILLING,
        "KmsKeyId": _KMS,
        "AsyncInferenceConfig": _emulated("ASY-1"),
        "AsyncInferenceConfig.OutputConfig.KmsKeyId": _KMS,
        "AsyncInferenceConfig.OutputConfig.NotificationConfig": _CLOUD_ONLY,
        "ExplainerConfig": _refused("needs the platform's own container"),
        "ShadowProductionVariants": _refused("not emulated yet"),
        "ExecutionRoleArn": _ROLE,
        "VpcConfig": _VPC,
        "EnableNetworkIsolation": _emulated("no way out of the machine (SEC-1)"),
        "MetricsConfig": _CLOUD_ONLY,
        "CrossRegionTrafficConfig": _refused("there is one region here"),
    },
    "CreateEndpoint": {
        "EndpointName": _emulated(),
        "EndpointConfigName": _emulated(),
        "DeploymentConfig": _ignored(
            "a new version takes over at once when it is healthy, else the old one stays"
        ),
        "Tags": _BILLING,
    },
}


def check(operation: str, request: Any) -> None:
    """Refuse a request that the service, or this machine, does not take.

    Raises: UserError that names every fault.
    """
    faults = validation.find_faults(operation, request)
    if not faults:
        faults = [
            f"{path}: refused here: {treatment.note}"
            for path, treatment in treat(operation, request)
            if treatment.kind == "refused"
        ]
        faults += _RULES[operation](request) if operation in _RULES else []
    if faults:
        summary = f"{operation} is refused"
        raise UserError.from_faults(summary, list(dict.fromkeys(faults)))


def list_without_effect(operation: str, request: Any) -> list[str]:
    """Give a line for every field that the request sets and that does nothing here."""
    lines = [
        f"{path} has no effect here: {treatment.note}"
        for path, treatment in treat(operation, request)
        if treatment.kind == "without effect"
    ]
    return list(dict.fromkeys(lines))


def treat(operation: str, request: Any) -> Iterator[tuple[str, Treatment]]:
    """Give every field that a request sets, at the depth at which the table speaks of it, and its treatment."""
    table = TREATMENTS[operation]
    for path in _paths(request, ""):
        owner = find_owner(table, path)
        yield owner, table[owner]


def find_owner(table: Mapping[str, Treatment], path: str) -> str:
    """Give the longest prefix of a path that the table speaks of."""
    while path and path not in table:
        path = path[:-2] if path.endswith("[]") else path.rpartition(".")[0]
    return path


def _paths(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _paths(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value:
        for item in value:
            yield from _paths(item, f"{path}[]")
    elif path:
        yield path


def _find_training_faults(request: Mapping[str, Any]) -> list[str]:
    resources = request.get("ResourceConfig", {})
    algorithm = request.get("AlgorithmSpecification")
    stopping = request.get("StoppingCondition", {})
    faults = [
        f"{name}: is required for a training job of one's own container"
        for name in ("AlgorithmSpecification", "ResourceConfig")
        if name not in request
    ]
    if (
        not resources.get("InstanceGroups")
        and "InstanceCount" not in resources
        and "ResourceConfig" in request
    ):
        faults.append(
            "ResourceConfig: InstanceType and InstanceCount, or InstanceGroups, are required"
        )
    if algorithm is not None and "TrainingImage" not in algorithm:
        faults.append("AlgorithmSpecification.TrainingImage: is required")
    if request.get("EnableManagedSpotTraining"):
        longest, runtime = (
            stopping.get("MaxWaitTimeInSeconds"),
            stopping.get("MaxRuntimeInSeconds", 86400),
        )
        if longest is None or longest < runtime:
            faults.append(
                f"StoppingCondition.MaxWaitTimeInSeconds: {longest} found; at least MaxRuntimeInSeconds, {runtime}, "
                "is required for spot training (SP-1)"
            )
    names = [channel["ChannelName"] for channel in request.get("InputDataConfig", ())]
    faults += [
        f"InputDataConfig: channel {name!r} is there twice"
        for name in sorted({n for n in names if names.count(n) > 1})
    ]
    for channel in request.get("InputDataConfig", ()):
        faults += _find_channel_faults(channel, (algorithm or {}).get("TrainingInputMode", "File"))
    return faults


def _find_channel_faults(channel: Mapping[str, Any], job_mode: str) -> list[str]:
    label = f"InputDataConfig channel {channel['ChannelName']!r}"
    mode = channel.get("InputMode", job_mode)
    source = channel["DataSource"].get("S3DataSource")
    if source is None:
        return [f"{label}: DataSource.S3DataSource is required"]
    faults = []
    if mode != "Pipe" and channel.get("CompressionType", "None") != "None":
        faults.append(f"{label}: CompressionType Gzip needs InputMode Pipe, found {mode} (IN-5)")
    if mode != "Pipe" and channel.get("RecordWrapperType", "None") != "None":
        faults.append(
            f"{label}: RecordWrapperType RecordIO needs InputMode Pipe, found {mode} (IN-5)"
        )
    if source["S3DataType"] == "AugmentedManifestFile" and mode != "Pipe":
        faults.append(f"{label}: AugmentedManifestFile needs InputMode Pipe, found {mode} (IN-9)")
    if source["S3DataType"] != "S3Prefix" and mode == "FastFile":
        faults.append(
            f"{label}: InputMode FastFile takes S3Prefix alone, found {source['S3DataType']} (IN-3)"
        )
    if source["S3DataType"] == "Converse":
        faults.append(f"{label}: S3DataType Converse is for the platform's own models")
    return faults


def _find_processing_faults(request: Mapping[str, Any]) -> list[str]:
    faults = []
    places = [
        (item["InputName"], item.get("S3Input")) for item in request.get("ProcessingInputs", ())
    ]
    outputs = request.get("ProcessingOutputConfig", {}).get("Outputs", ())
    places += [(item["OutputName"], item.get("S3Output")) for item in outputs]
    for name, place in places:
        path = (place or {}).get("LocalPath", "")
        if not path.startswith("/opt/ml/processing/"):
            faults.append(f"{name}: LocalPath {path!r} must lie below /opt/ml/processing/ (PR-2)")
        if place and place.get("S3InputMode", "File") != "File":
            faults.append(f"{name}: S3InputMode {place['S3InputMode']} is not emulated")
    return faults


def _find_transform_faults(request: Mapping[str, Any]) -> list[str]:
    faults = []
    source = request["TransformInput"]["DataSource"]["S3DataSource"]
    if source["S3DataType"] not in ("S3Prefix", "ManifestFile"):
        faults.append(
            f"TransformInput: S3DataType {source['S3DataType']} found; S3Prefix and ManifestFile are possible"
        )
    split_type = request["TransformInput"].get("SplitType", "None")
    if split_type == "None" and request.get("BatchStrategy") == "MultiRecord":
        faults.append("BatchStrategy: MultiRecord needs a SplitType (BT-5)")
    product = request.get("MaxConcurrentTransforms", 1) * request.get("MaxPayloadInMB", 0)
    if request.get("MaxPayloadInMB", 0) > 100 or product > 100:
        faults.append(
            "MaxPayloadInMB: at most 100, also times MaxConcurrentTransforms, is possible (BT-11)"
        )
    processing = request.get("DataProcessing", {})
    for name in ("InputFilter", "OutputFilter"):
        try:
            json_path.parse(processing.get(name, "$"))
        except UserError as error:
            faults.append(f"DataProcessing.{name}: {error} (BT-12)")
    if processing.get("JoinSource", "None") != "None":
        assembly = request["TransformOutput"].get("AssembleWith", "None")
        if (split_type, assembly) not in (("Line", "Line"), ("None", "None")):
            faults.append(
                f"DataProcessing.JoinSource: SplitType {split_type} and AssembleWith {assembly} do not match (BT-12)"
            )
    return faults


_RULES: Final = {
    "CreateTransformJob": _find_transform_faults,
    "CreateTrainingJob": _find_training_faults,
    "CreateProcessingJob": _find_processing_faults,
}
"""What the service refuses although its model allows it."""


def format_table() -> str:
    """Format the whole table as Markdown."""
    lines = ["# What the local SageMaker does with each request field", ""]
    lines += [
        "Made by `python -m local_test fields`. A field that is not listed is treated as its parent.",
        "",
    ]
    for operation, table in TREATMENTS.items():
        lines += [f"## {operation}", "", "| field | here | note |", "|---|---|---|"]
        lines += [
            f"| `{path}` | {treatment.kind} | {treatment.note} |"
            for path, treatment in table.items()
        ]
        lines.append("")
    return "\n".join(lines)
