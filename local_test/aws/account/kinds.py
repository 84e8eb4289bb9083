"""The kinds of resources: how the API names their parts, and the type of their records."""

from __future__ import annotations

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


TRAINING_JOB: Final = Kind[records.TrainingJob]("training-job", "TrainingJob", "TrainingJobStatus")
PROCESSING_JOB: Final = Kind[records.Job]("processing-job", "ProcessingJob", "ProcessingJobStatus")
TRANSFORM_JOB: Final = Kind[records.TransformJob](
    "transform-job", "TransformJob", "TransformJobStatus"
)
TUNING_JOB: Final = Kind[records.TuningJob](
    "hyper-parameter-tuning-job", "HyperParameterTuningJob", "HyperParameterTuningJobStatus"
)
MODEL: Final = Kind[records.Resource]("model", "Model")
ENDPOINT_CONFIG: Final = Kind[records.Resource]("endpoint-config", "EndpointConfig")
ENDPOINT: Final = Kind[records.Endpoint]("endpoint", "Endpoint", "EndpointStatus")
PACKAGE_GROUP: Final = Kind[records.PackageGroup](
    "model-package-group", "ModelPackageGroup", "ModelPackageGroupStatus"
)
PACKAGE: Final = Kind[records.Package]("model-package", "ModelPackage", "ModelPackageStatus")
RESOURCES: Final[Mapping[str, Kind[Any]]] = {
    kind.name: kind
    for kind in (
        *(TRAINING_JOB, PROCESSING_JOB, TRANSFORM_JOB, TUNING_JOB),
        *(MODEL, ENDPOINT_CONFIG, ENDPOINT, PACKAGE_GROUP, PACKAGE),
    )
}
"""The kinds that have ARNs of SageMaker, by name."""

SCALABLE_TARGET: Final = Kind[records.ScalableTarget]("scalable-target")
SCALING_POLICY: Final = Kind[records.ScalingPolicy]("scaling-policy")
SCALING_ACTIVITY: Final = Kind[dict[str, Any]]("scaling-activity")
BUCKET: Final = Kind[records.Bucket]("s3-bucket")
OBJECT: Final = Kind[records.StoredObject]("s3-object")
