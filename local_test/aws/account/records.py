"""The records of the local AWS, one type for each kind of resource.

A record has the names and values of the API, so that a Describe answer is a selection of it. A type
lists what the code reads by name; the other members come from the request unchanged. Names that
start with an underscore are ours. Times are seconds since the epoch.
"""

from typing import Any, NotRequired, TypedDict

Request = dict[str, Any]
"""A request of the API after validation."""


class Tag(TypedDict):
    """A tag of a resource."""

    Key: str
    Value: str


class Described(TypedDict):
    """What the records of all kinds share."""

    CreationTime: float
    LastModifiedTime: NotRequired[float]
    Tags: NotRequired[list[Tag]]
    FailureReason: NotRequired[str | None]


class Resource(Described):
    """What the records share that keep the request that created them."""

    _request: Request
    _without_effect: list[str]
    """Explanations of the request's fields that change nothing here."""


class Job(Resource):
    """What the records of training, processing and transform jobs share."""

    _instances: int
    _attempts: int


class TrainingJob(Job):
    """A training job; the last five members are those of a tuning job that started it."""

    TrainingJobName: str
    TrainingJobArn: str
    TrainingJobStatus: str
    FinalMetricDataList: NotRequired[list[dict[str, Any]]]
    TrainingTimeInSeconds: NotRequired[int]
    _tuning: NotRequired[str]
    """Name of the tuning job."""
    _tuned: NotRequired[dict[str, str]]
    """The hyperparameters that the search chose."""
    _point: NotRequired[list[float]]
    """Their positions in the search space, each in [0, 1)."""
    _definition: NotRequired[int]
    """Index of the training job definition."""
    _bracket: NotRequired[int]
    """Number among the jobs of the tuning job, which decides the Hyperband bracket."""


class TransformJob(Job):
    """A transform job."""

    _model: Request
    """The CreateModel request of its model."""


class TuningJob(Resource):
    """A hyperparameter tuning job."""

    HyperParameterTuningJobName: str
    HyperParameterTuningJobStatus: str
    HyperParameterTuningJobConfig: dict[str, Any]
    WarmStartConfig: NotRequired[dict[str, Any]]


class ServedRequests(TypedDict):
    """The requests that an endpoint runs; they outlive its models and its configuration."""

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
    _requests: ServedRequests
    _next_requests: NotRequired[ServedRequests | None]
    """What an update that is in progress leads to."""
    LastDeploymentConfig: NotRequired[Request]
    _deployment: NotRequired[Request | None]
    """The DeploymentConfig of the update that is in progress."""
    _shifted: NotRequired[bool | None]
    """Whether the update has moved all traffic already."""


class CopiedRequests(TypedDict):
    """What an inference component runs; it outlives its model."""

    specification: Request
    """Its Specification."""
    model: Request
    """CreateModel, of the model that it names or of its own container."""
    copies: int


class InferenceComponent(Resource):
    """An inference component."""

    InferenceComponentName: str
    InferenceComponentArn: str
    InferenceComponentStatus: str
    EndpointName: str
    VariantName: str
    _requests: CopiedRequests
    _next_requests: NotRequired[CopiedRequests | None]
    """What an update that is in progress leads to."""


class PackageGroup(Described):
    """A group of model packages."""

    ModelPackageGroupName: str
    _last_version: int
    _policy: NotRequired[str]


class Package(Described):
    """A model package."""

    ModelPackageArn: str
    ModelPackageGroupName: NotRequired[str]
    ModelPackageVersion: NotRequired[int]
    ModelApprovalStatus: NotRequired[str]
    InferenceSpecification: NotRequired[dict[str, Any]]
    AdditionalInferenceSpecifications: NotRequired[list[dict[str, Any]]]
    _name: str
    """GROUP/VERSION, or the name of a package without a group."""
    _client_token: NotRequired[str | None]


class AcceptedRequest(TypedDict):
    """An asynchronous request that has no answer yet, and the endpoint that accepted it."""

    EndpointName: str
    key: str
    config: dict[str, Any]
    """The AsyncInferenceConfig by which it was accepted."""
    uri: str
    body: str
    """In Base64; empty if `uri` names the body."""
    headers: dict[str, str]
    options: dict[str, Any]
    received_s: float


class Backend(TypedDict):
    """The state of a service that moto plays, in one region."""

    name: str
    moto: str
    """The version of moto that made it."""
    state: str
    """In Base64."""
    fault: str
    """Why the state is not kept; empty if it is."""
    names: list[str]
    """What is in it."""


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
