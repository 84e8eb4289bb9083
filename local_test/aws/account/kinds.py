"""The kinds of resources: how the API names their parts, and the type of their records."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from local_test.aws.account import records

R = TypeVar("R", bound=Mapping[str, Any])
"""The type of a kind's records."""


@dataclass(frozen=True)
class Kind(Generic[R]):
    """A kind of resource."""

    name: str
    """As in ARNs, such as `training-job`; also the kind of its records on disk."""
    record: type[R]
    """The type of its records."""
    prefix: str = ""
    """As in member names, such as `TrainingJob` of `TrainingJobName`."""
    status_name: str = ""
    """The member that holds its status, if it has one."""

    @property
    def name_name(self) -> str:
        """The member that holds its name."""
        return f"{self.prefix}Name"

    @property
    def arn_name(self) -> str:
        """The member that holds its ARN."""
        return f"{self.prefix}Arn"


TRAINING_JOB: Final = Kind("training-job", records.TrainingJob, "TrainingJob", "TrainingJobStatus")
PROCESSING_JOB: Final = Kind("processing-job", records.Job, "ProcessingJob", "ProcessingJobStatus")
TRANSFORM_JOB: Final = Kind(
    "transform-job", records.TransformJob, "TransformJob", "TransformJobStatus"
)
TUNING_JOB: Final = Kind(
    "hyper-parameter-tuning-job",
    records.TuningJob,
    "HyperParameterTuningJob",
    "HyperParameterTuningJobStatus",
)
MODEL: Final = Kind("model", records.Resource, "Model")
ENDPOINT_CONFIG: Final = Kind("endpoint-config", records.Resource, "EndpointConfig")
ENDPOINT: Final = Kind("endpoint", records.Endpoint, "Endpoint", "EndpointStatus")
COMPONENT: Final = Kind(
    "inference-component",
    records.InferenceComponent,
    "InferenceComponent",
    "InferenceComponentStatus",
)
PACKAGE_GROUP: Final = Kind(
    "model-package-group", records.PackageGroup, "ModelPackageGroup", "ModelPackageGroupStatus"
)
PACKAGE: Final = Kind("model-package", records.Package, "ModelPackage", "ModelPackageStatus")
EXPERIMENT: Final = Kind("experiment", dict[str, Any], "Experiment")
TRIAL: Final = Kind("experiment-trial", dict[str, Any], "Trial")
TRIAL_COMPONENT: Final = Kind("experiment-trial-component", dict[str, Any], "TrialComponent")
ARTIFACT: Final = Kind("artifact", dict[str, Any], "Artifact")
ACTION: Final = Kind("action", dict[str, Any], "Action")
CONTEXT: Final = Kind("context", dict[str, Any], "Context")
ASSOCIATION: Final = Kind("association", dict[str, Any], "Association")
MODEL_CARD: Final = Kind("model-card", dict[str, Any], "ModelCard")
ALGORITHM: Final = Kind("algorithm", dict[str, Any], "Algorithm")
PIPELINE: Final = Kind("pipeline", dict[str, Any], "Pipeline", "PipelineStatus")
PIPELINE_EXECUTION: Final = Kind(
    "pipeline-execution", dict[str, Any], "PipelineExecution", "PipelineExecutionStatus"
)
FUNCTION_CALL: Final = Kind("function-call", dict[str, Any], "FunctionCall", "FunctionCallStatus")
ACCEPTED_REQUEST: Final = Kind("accepted-request", records.AcceptedRequest)
BACKEND: Final = Kind("backend", records.Backend)
SCALABLE_TARGET: Final = Kind("scalable-target", dict[str, Any])
SCALING_POLICY: Final = Kind("scaling-policy", dict[str, Any])
SCALING_ACTIVITY: Final = Kind("scaling-activity", dict[str, Any])
BUCKET: Final = Kind("s3-bucket", records.Bucket)
OBJECT: Final = Kind("s3-object", records.StoredObject)
ALL: Final[Mapping[str, Kind[Any]]] = {
    kind.name: kind for kind in list(vars().values()) if isinstance(kind, Kind)
}
"""All kinds, by name."""
_OTHERS: Final = (ASSOCIATION, PIPELINE_EXECUTION, FUNCTION_CALL)
RESOURCES: Final[Mapping[str, Kind[Any]]] = {
    kind.name: kind for kind in ALL.values() if kind.prefix and kind not in _OTHERS
}
"""The kinds that have ARNs of SageMaker, by name."""
