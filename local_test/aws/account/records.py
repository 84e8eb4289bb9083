"""The records of the local AWS, one type for each kind of resource.

A record has the names and values of the API, so that a Describe answer is a selection of it. It
lists here what the code reads by name; the other members come from the request unchanged. Names
that start with an underscore are ours. Times are seconds since the epoch.
"""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

Request = dict[str, Any]
"""A request of the API after validation."""


class Tag(TypedDict):
    """A tag."""

    Key: str
    Value: str


class Resource(TypedDict):
    """What the records of all kinds share."""

    CreationTime: float
    LastModifiedTime: NotRequired[float]
    Tags: NotRequired[list[Tag]]


class Job(Resource):
    """What the records of training, processing and transform jobs share."""

    FailureReason: NotRequired[str]
    _request: Request
    _instances: int
    _attempts: int
    _without_effect: list[str]
    """Explanations of the request's fields that change nothing here."""


class Transition(TypedDict):
    """A secondary status of a training job, and when it was entered and left."""

    Status: str
    StartTime: float
    EndTime: NotRequired[float]
    StatusMessage: str


class FinalMetric(TypedDict):
    """The last value of a metric."""

    MetricName: str
    Value: float
    Timestamp: float


class TrainingJob(Job):
    """A training job."""

    TrainingJobName: str
    TrainingJobArn: str
    TrainingJobStatus: str
    SecondaryStatus: str
    SecondaryStatusTransitions: list[Transition]
    FinalMetricDataList: NotRequired[list[FinalMetric]]
    TrainingTimeInSeconds: NotRequired[int]
    _tuning: NotRequired[str]
    """Name of the tuning job that started it; the next four belong to that tuning job."""
    _tuned: NotRequired[dict[str, str]]
    """The hyperparameters that the search chose."""
    _point: NotRequired[list[float]]
    """Their positions in the search space, each in [0, 1)."""
    _definition: NotRequired[int]
    """Index of the training job definition."""
    _bracket: NotRequired[int]
    """Number of the job among those of its tuning job, which decides its Hyperband bracket."""


class ProcessingJob(Job):
    """A processing job."""

    ProcessingJobName: str
    ProcessingJobArn: str
    ProcessingJobStatus: str


class TransformJob(Job):
    """A transform job."""

    TransformJobName: str
    TransformJobArn: str
    TransformJobStatus: str
    _model: Request
    """The CreateModel request of its model."""


class TuningJob(Resource):
    """A hyperparameter tuning job."""

    HyperParameterTuningJobName: str
    HyperParameterTuningJobArn: str
    HyperParameterTuningJobStatus: str
    HyperParameterTuningJobConfig: dict[str, Any]
    HyperParameterTuningEndTime: NotRequired[float]
    FailureReason: NotRequired[str]
    WarmStartConfig: NotRequired[dict[str, Any]]
    _request: Request


class Model(Resource):
    """A model."""

    ModelName: str
    ModelArn: str
    _request: Request
    """With the image and data of its model package, if it names one."""
    _without_effect: list[str]


class EndpointConfig(Resource):
    """An endpoint configuration."""

    EndpointConfigName: str
    EndpointConfigArn: str
    _request: Request
    _without_effect: list[str]


class ServedRequests(TypedDict):
    """The requests that an endpoint runs; it outlives its models and its configuration."""

    config: Request
    """CreateEndpointConfig, with the current weights and instance counts."""
    models: dict[str, Request]
    """CreateModel by model name."""


class Endpoint(Resource):
    """An endpoint."""

    EndpointName: str
    EndpointArn: str
    EndpointStatus: str
    EndpointConfigName: str
    FailureReason: NotRequired[str | None]
    _request: Request
    _without_effect: list[str]
    _requests: ServedRequests
    _next_requests: NotRequired[ServedRequests | None]
    """What an update that is under way leads to."""


class PackageGroup(Resource):
    """A group of model packages."""

    ModelPackageGroupName: str
    ModelPackageGroupArn: str
    _last_version: int


class Package(Resource):
    """A model package."""

    ModelPackageName: str
    ModelPackageArn: str
    ModelPackageGroupName: NotRequired[str]
    ModelPackageVersion: NotRequired[int]
    ModelApprovalStatus: NotRequired[str]
    InferenceSpecification: NotRequired[dict[str, Any]]
    AdditionalInferenceSpecifications: NotRequired[list[dict[str, Any]] | None]
    CustomerMetadataProperties: NotRequired[dict[str, str] | None]
    LastModifiedBy: NotRequired[dict[str, str]]
    _name: str
    """GROUP/VERSION, or the name of a package without a group."""
    _client_token: NotRequired[str | None]


class ScalableTarget(Resource):
    """A scalable target of Application Auto Scaling."""

    ServiceNamespace: str
    ResourceId: str
    ScalableTargetARN: str
    RoleARN: str
    MinCapacity: int
    MaxCapacity: int
    SuspendedState: NotRequired[dict[str, bool]]
    _scaled: NotRequired[float]
    """When the scaler last changed the variant."""


class ScalingPolicy(Resource):
    """A target tracking policy."""

    ServiceNamespace: str
    ScalableDimension: str
    ResourceId: str
    PolicyName: str
    PolicyARN: str
    TargetTrackingScalingPolicyConfiguration: dict[str, Any]


class ScalingActivity(TypedDict):
    """What the scaler did once."""

    ActivityId: str
    ServiceNamespace: str
    ResourceId: str
    ScalableDimension: str
    Description: str
    Cause: str
    StartTime: float
    StatusCode: str


class Bucket(TypedDict):
    """A bucket of S3."""

    name: str
    region: str
    created: float


class StoredObject(TypedDict):
    """The latest version of an object of S3."""

    bucket: str
    key: str
    file: str
    """Name of the file that holds its bytes."""
    bytes: int
    etag: str
    modified: float
    metadata: dict[str, str]
