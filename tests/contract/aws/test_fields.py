"""Each field that the table calls emulated is asked for by the code that acts on a request.

Every kind of job and endpoint runs in this process, with requests that note what is asked for.
What only decides whether a request is refused is shown to do that.
"""

from __future__ import annotations

import io
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.serialize import create_serializer

from local_test.aws.account.account import Account
from local_test.aws.account.settings import Settings
from local_test.aws.process import operations
from local_test.aws.sagemaker import live_endpoints, runtime
from local_test.aws.sagemaker.metadata import run_metrics
from local_test.endpoints import invocation, invocation_http, invocation_members
from local_test.endpoints.asynchronous.accepted import Options
from local_test.endpoints.endpoint import Endpoint
from local_test.requests import component_rules, rules, shapes, treatments
from local_test.runners.interface import Runner
from local_test.runners.process import ProcessRunner
from tests.contract.test_local_test_endpoint import make_model
from tests.support import PROGRAMS
from tests.unit.local_test.aws.conftest import PlayedServices
from tests.unit.local_test.aws.watched import Reads, Watched, WatchedStore, watch
from tests.unit.local_test.requests.test_treatments import list_leaves

LIMIT_S = 120
SERIALIZER = create_serializer("rest-json", include_validation=False)
ARN = "arn:aws:sagemaker:us-east-1:000000000000"
ROLE = "arn:aws:iam::000000000000:role/test"
HEADER = "X-Amzn-SageMaker-"
CLUSTER = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}
ONE = {"Type": "INSTANCE_COUNT", "Value": 1}
HALF = {"Type": "CAPACITY_PERCENT", "Value": 50}
VARIANT = {"VariantName": "v", "ModelName": "one"}
ENDS = ("Success", "Error")
TAKEN = ("emulated", "only `up`")
MEMORY = "Specification.ComputeResourceRequirements.MinMemoryRequiredInMb"
JUDGED = {
    "CreateTrainingJob": {"EnableManagedSpotTraining"},
    "CreateProcessingJob": {"ProcessingInputs[].InputName"},
    "CreateInferenceComponent": {MEMORY},
    "UpdateInferenceComponent": {MEMORY},
}
"""What only decides whether a request is refused."""


class World:
    """An account whose operations run in this process, with programs as containers."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.reads: Reads = set()
        self.operation = ""
        """Of the runtime API, which is being called."""
        store = WatchedStore(directory / "aws/state.sqlite")
        store.reads = self.reads
        self.services = PlayedServices()
        self.services.alarms.known = ["alarm"]
        self.account = Account(
            directory / "aws", Settings(), store, self._choose_runner, self.services
        )
        self.model = make_model(directory / "model.tar.gz", 1).as_uri()
        self.rows = self.write("rows.csv", b"1,2\n")

    @staticmethod
    def _choose_runner(image: str) -> Runner:
        return ProcessRunner([sys.executable, str(PROGRAMS / f"{image}.py")])

    def do(self, operation: str, **request: Any) -> None:
        """Run an operation, and wait for what it begins."""
        watched = watch(request, operation, self.reads)
        known = {**operations.OPERATIONS, **run_metrics.OPERATIONS}
        known[operation](self.account, watched)
        assert self.account.wait_for_threads(LIMIT_S)

    def name(self, name: str) -> str:
        """Return the URI of a directory of its own."""
        return (self.directory / "data" / name).as_uri()

    def write(self, name: str, data: bytes) -> str:
        """Write a file; return its URI."""
        path = self.directory / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path.as_uri()

    def describe(self, operation: str, **request: Any) -> Any:
        """Return what an operation answers, unwatched."""
        return operations.OPERATIONS[operation](self.account, request)

    def call(self, operation: str, **members: Any) -> list[Any]:
        """Send a request of the runtime API as boto3 does; return its status, headers and body.

        What the container gets counts as asked for.
        """
        model = shapes.service_model("sagemaker-runtime").operation_model(operation)
        sent = SERIALIZER.serialize_to_request(members, model)
        self.operation = operation
        environ = {
            f"HTTP_{name.upper().replace('-', '_')}": str(value)
            for name, value in sent["headers"].items()
        }
        environ["CONTENT_TYPE"] = environ.pop("HTTP_CONTENT_TYPE", "")
        body = sent["body"]
        environ |= {"REQUEST_METHOD": sent["method"], "PATH_INFO": sent["url_path"]}
        environ["wsgi.input"] = io.BytesIO(body)
        found: list[Any] = []
        api = runtime.api_of(self.account)
        answer = b"".join(api(environ, lambda *head: found.extend(head)))
        assert self.account.wait_for_threads(LIMIT_S)
        return [found[0], dict(found[1]), answer]

    def note_received(self, answer: bytes, members: dict[str, Any]) -> None:
        """Note what of a request reached the container, by its answer."""
        document = json.loads(answer[answer.index(b'{"echo"') : answer.rindex(b"}") + 1])
        got = {*document["headers"].values(), document["echo"]}
        for name, value in members.items():
            if value in got:
                self.reads.add((self.operation, name))

    def check(self, status: str, operation: str, member: str, **request: Any) -> Any:
        """Check a status; return what describes it."""
        described = self.describe(operation, **request)
        assert described[member] == status, described
        return described

    def make_endpoint(self, name: str, variant: Any, **config: Any) -> Endpoint:
        """Return an endpoint in service."""
        self.do(
            "CreateEndpointConfig", EndpointConfigName=name, ProductionVariants=[variant], **config
        )
        self.do("CreateEndpoint", EndpointName=name, EndpointConfigName=name)
        self.check("InService", "DescribeEndpoint", "EndpointStatus", EndpointName=name)
        found = live_endpoints.find_live(self.account, name)
        assert found is not None
        return found


def train(world: World, name: str, **changes: Any) -> None:
    request = {
        "TrainingJobName": name,
        "RoleArn": ROLE,
        "AlgorithmSpecification": {
            "TrainingImage": "aws_user",
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "accuracy", "Regex": "validation_accuracy=([0-9.]+)"}],
        },
        "HyperParameters": {"epochs": "1"},
        "InputDataConfig": [make_channel("plain", S3Uri=world.rows)],
        "OutputDataConfig": {"S3OutputPath": world.name("out")},
        "ResourceConfig": CLUSTER,
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        "CheckpointConfig": {"S3Uri": world.name("checkpoints")},
        "RetryStrategy": {"MaximumRetryAttempts": 1},
        **changes,
    }
    world.do("CreateTrainingJob", **request)
    world.check("Completed", "DescribeTrainingJob", "TrainingJobStatus", TrainingJobName=name)


def make_channel(name: str, source: Any = None, **members: Any) -> dict[str, Any]:
    found = {"S3DataType": "S3Prefix", **(source or {}), **members}
    return {"ChannelName": name, "DataSource": {"S3DataSource": found}}


def run_training(world: World) -> None:
    """Train with both ways of asking for instances, an entry point, and pipes that are read."""
    train(world, "first", ResourceConfig={**CLUSTER, "KeepAlivePeriodInSeconds": 600})
    group = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "InstanceGroupName": "g"}
    train(
        world,
        "grouped",
        ResourceConfig={"VolumeSizeInGB": 1, "InstanceGroups": [group]},
        EnableManagedSpotTraining=True,
        StoppingCondition={"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60},
        AlgorithmSpecification={
            "TrainingImage": "aws_user",
            "TrainingInputMode": "File",
            "ContainerEntrypoint": [sys.executable, str(PROGRAMS / "aws_user.py")],
            "ContainerArguments": ["train"],
        },
    )
    line = json.dumps({"source-ref": world.rows, "label": 1}) + "\n"
    manifest = {
        "S3DataType": "AugmentedManifestFile",
        "S3Uri": world.write("list.manifest", 2 * line.encode()),
        "AttributeNames": ["source-ref", "label"],
    }
    seed = {"ShuffleConfig": {"Seed": 1}, "RecordWrapperType": "RecordIO"}
    for channel in (
        {**make_channel("augmented", manifest), **seed},
        make_channel("zipped", S3Uri=world.rows),
    ):
        train(
            world,
            channel["ChannelName"],
            HyperParameters={"epochs": "1", "channel": channel["ChannelName"]},
            AlgorithmSpecification={"TrainingImage": "pipe", "TrainingInputMode": "Pipe"},
            InputDataConfig=[channel],
        )


def run_other_jobs(world: World) -> None:
    place = "/opt/ml/processing"
    output = {
        "S3Uri": world.name("processed"),
        "LocalPath": f"{place}/output",
        "S3UploadMode": "Continuous",
    }
    source = {"S3Uri": world.rows, "S3DataType": "S3Prefix"}
    inputs = [
        {"S3Input": {**source, "LocalPath": f"{place}/{name}", **members}, "InputName": name}
        for name, members in (
            ("input", {"S3InputMode": "File"}),
            ("pipe", {"S3InputMode": "Pipe", "S3CompressionType": "None"}),
        )
    ]
    world.do(
        "CreateProcessingJob",
        ProcessingJobName="job",
        RoleArn=ROLE,
        AppSpecification={"ImageUri": "aws_user"},
        ProcessingResources={"ClusterConfig": CLUSTER},
        ProcessingInputs=inputs,
        ProcessingOutputConfig={"Outputs": [{"OutputName": "out", "S3Output": output}]},
        StoppingCondition={"MaxRuntimeInSeconds": 60},
        NetworkConfig={"EnableNetworkIsolation": False},
    )
    world.check(
        "Completed", "DescribeProcessingJob", "ProcessingJobStatus", ProcessingJobName="job"
    )
    world.do(
        "CreateTransformJob",
        TransformJobName="job",
        ModelName="one",
        TransformInput={"DataSource": {"S3DataSource": source}, "SplitType": "Line"},
        TransformOutput={"S3OutputPath": output["S3Uri"], "AssembleWith": "Line"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
        ModelClientConfig={"InvocationsTimeoutInSeconds": 60},
        DataProcessing={"JoinSource": "None"},
    )
    world.check("Completed", "DescribeTransformJob", "TransformJobStatus", TransformJobName="job")


def run_models(world: World) -> None:
    """Serve containers of every kind, one by one and together, and capture what they answer."""
    source = {"S3Uri": world.model, "S3DataType": "S3Object", "CompressionType": "Gzip"}
    many = {
        "Image": "conformant",
        "ModelDataUrl": world.directory.as_uri(),
        "Mode": "MultiModel",
        "MultiModelConfig": {"ModelCacheSetting": "Disabled"},
    }
    sourced = {"Image": "aws_user", "ModelDataSource": {"S3DataSource": source}}
    plain = {"Image": "aws_user", "ModelDataUrl": world.model}
    specification = {"Containers": [plain], "SupportedContentTypes": ["text/csv"]}
    world.do("CreateModelPackageGroup", ModelPackageGroupName="g")
    world.do(
        "CreateModelPackage",
        ModelPackageGroupName="g",
        InferenceSpecification=specification,
        AdditionalInferenceSpecifications=[{"Name": "other", **specification}],
        ModelApprovalStatus="Approved",
    )
    package = f"{ARN}:model-package/g/1"
    packed = {"ModelPackageName": package, "InferenceSpecificationName": "other"}
    models = {
        "sourced": {"PrimaryContainer": sourced},
        "packed": {"PrimaryContainer": packed},
        "many": {"PrimaryContainer": many},
        "direct": {
            "Containers": [
                {**container, "ContainerHostname": f"c{number}"}
                for number, container in enumerate((sourced, many, plain))
            ],
            "InferenceExecutionConfig": {"Mode": "Direct"},
        },
        "listed": {"Containers": [packed]},
    }
    target = {f"{HEADER}Target-Model": "model.tar.gz"}
    headers = {"many": target, "direct": {**target, f"{HEADER}Target-Container-Hostname": "c1"}}
    capture = {
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": world.name("captured"),
        "CaptureOptions": [{"CaptureMode": "Input"}],
        "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
    }
    for name, model in models.items():
        world.do("CreateModel", ModelName=name, ExecutionRoleArn=ROLE, **model)
        variant = {**VARIANT, "ModelName": name}
        endpoint = world.make_endpoint(name, variant, DataCaptureConfig=capture)
        answer = endpoint.invoke(b"1", {"Content-Type": "text/csv", **headers.get(name, {})})
        assert answer.status == 200, answer.body
        world.do("DeleteEndpoint", EndpointName=name)


def run_variants(world: World) -> None:
    """Serve on demand, with a shadow, and asynchronously."""
    on_demand = {"MemorySizeInMB": 1024, "MaxConcurrency": 2}
    endpoint = world.make_endpoint("serverless", {**VARIANT, "ServerlessConfig": on_demand})
    with ThreadPoolExecutor(2) as pool:  # one of them needs another environment
        asked = [pool.submit(endpoint.invoke, b"sleep", {}) for _ in range(2)]
        assert [item.result().status for item in asked] == [200, 200]
    shadow = {**VARIANT, "VariantName": "shadow"}
    world.make_endpoint("shadowed", VARIANT, ShadowProductionVariants=[shadow]).invoke(b"1", {})
    topics = {f"{end}Topic": f"arn:aws:sns:us-east-1:000000000000:{end}" for end in ENDS}
    out = world.name("async")
    stored = {"S3OutputPath": out, "S3FailurePath": out, "NotificationConfig": topics}
    client = {"MaxConcurrentInvocationsPerInstance": 1}
    asynchronous = {"OutputConfig": stored, "ClientConfig": client}
    endpoint = world.make_endpoint("async", VARIANT, AsyncInferenceConfig=asynchronous)
    for body in (b"x", b"fail"):
        endpoint.invoke_async(body, {})
    for name in ("async", "serverless", "shadowed"):
        world.do("DeleteEndpoint", EndpointName=name)
    assert {topic for topic, _ in world.services.notices.messages} == set(topics.values())


def shift(**routing: Any) -> dict[str, Any]:
    moved = {"WaitIntervalInSeconds": 0, **routing}
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": moved}}


def run_updates(world: World) -> None:
    """Deploy in each way, as CreateEndpoint and as UpdateEndpoint say; the last is rolled back."""
    variant = {**VARIANT, "InitialInstanceCount": 2}
    world.do("CreateEndpointConfig", EndpointConfigName="next", ProductionVariants=[variant])
    rolling = {
        "MaximumBatchSize": ONE,
        "WaitIntervalInSeconds": 0,
        "RollbackMaximumBatchSize": ONE,
    }
    alarms = {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "alarm"}]}}
    deployments = (
        shift(Type="CANARY", CanarySize=HALF),
        shift(Type="LINEAR", LinearStepSize=HALF),
        {"RollingUpdatePolicy": rolling, **alarms},
    )
    for deployment in deployments:
        world.do(
            "CreateEndpoint",
            EndpointName="e",
            EndpointConfigName="next",
            DeploymentConfig=deployment,
        )
        world.services.alarms.tripped = ["alarm"] if alarms.keys() <= deployment.keys() else []
        for terms in ({"RetainDeploymentConfig": True}, {"DeploymentConfig": deployment}):
            world.do("UpdateEndpoint", EndpointName="e", EndpointConfigName="next", **terms)
            described = world.describe("DescribeEndpoint", EndpointName="e")
            assert ("FailureReason" in described) == bool(world.services.alarms.tripped)
        world.do("DeleteEndpoint", EndpointName="e")
    world.make_endpoint("e", VARIANT)
    excluded = [{"VariantPropertyType": "DesiredWeight"}]
    world.do(
        "UpdateEndpoint",
        EndpointName="e",
        EndpointConfigName="next",
        RetainAllVariantProperties=True,
        ExcludeRetainedVariantProperties=excluded,
    )
    world.do("DeleteEndpoint", EndpointName="e")


def run_components(world: World) -> None:
    """Serve inference components of a model and of a container, and change them."""
    shared = {"VariantName": "v", "InstanceType": "ml.m5.large"}
    world.make_endpoint("shared", shared, ExecutionRoleArn=ROLE)
    place = {"EndpointName": "shared", "VariantName": "v"}
    memory = {"MinMemoryRequiredInMb": 128, "MaxMemoryRequiredInMb": 1024}
    startup = {"ContainerStartupHealthCheckTimeoutInSeconds": 60}
    needs = {"ComputeResourceRequirements": memory, "StartupParameters": startup}
    changed = {"ComputeResourceRequirements": {**memory, "MaxMemoryRequiredInMb": 2048}}
    sources = {
        "of-model": {"ModelName": "one"},
        "of-image": {"Container": {"Image": "aws_user", "ArtifactUrl": world.model}},
    }
    for name, source in sources.items():
        component = {"InferenceComponentName": name}
        for operation, change, members in (
            ("CreateInferenceComponent", {}, place),
            ("UpdateInferenceComponent", changed, {}),
        ):
            world.do(
                operation,
                Specification={**needs, **source, **change},
                RuntimeConfig={"CopyCount": 1},
                **component,
                **members,
            )
            described = world.check(
                "InService",
                "DescribeInferenceComponent",
                "InferenceComponentStatus",
                **component,
            )
            assert "FailureReason" not in described
        world.do(
            "UpdateInferenceComponentRuntimeConfig",
            DesiredRuntimeConfig={"CopyCount": 0},
            **component,
        )
        world.do("DeleteInferenceComponent", **component)
    world.do("DeleteEndpoint", EndpointName="shared")


def run_invocations(world: World) -> None:
    """Invoke endpoints of each kind, in each way, with every header."""
    given = {
        "Body": b"body",
        "ContentType": "text/plain",
        "Accept": "text/x",
        "CustomAttributes": "trace",
        "InferenceId": "identity",
    }
    texts = {**given, "Body": "body"}
    two = {**VARIANT, "InitialInstanceCount": 2}
    stored = {"OutputConfig": {"S3OutputPath": world.name("invoked")}}
    world.make_endpoint("invoked", two)
    world.make_endpoint("later", VARIANT, AsyncInferenceConfig=stored)
    routed = {"TargetVariant": "v", "SessionId": "session"}
    for operation in ("InvokeEndpoint", "InvokeEndpointWithResponseStream"):
        for members in (given, {**given, **routed, "PrefixAwareId": "prefix"}):
            status, _, answer = world.call(operation, EndpointName="invoked", **members)
            assert status == "200 OK", answer
            world.note_received(answer, {**texts, **members, "Body": "body"})
        for name, message in (
            ("TargetContainerHostname", b"leave it out"),
            ("InferenceComponentName", b"not allowed"),
        ):
            status, _, answer = world.call(operation, EndpointName="invoked", **{name: "x"})
            assert (status[:3], message in answer) == ("400", True), answer
        status, _, answer = world.call(operation, EndpointName="none")
        assert b"Endpoint none of account" in answer
        world.reads.add((operation, "EndpointName"))
    options = {
        "S3OutputPathExtension": "below",
        "Filename": "answer.json",
        "RequestTTLSeconds": 60,
        "InvocationTimeoutSeconds": 30,
    }
    for source in ({"Body": b"body"}, {"InputLocation": "s3://bucket/key"}):
        named = {"EndpointName": "later", **given, **source, **options}
        if "InputLocation" in source:
            del named["Body"]
        status, headers, _ = world.call("InvokeEndpointAsync", **named)
        assert status == "202 Accepted"
        assert headers["X-Amzn-SageMaker-OutputLocation"].endswith("/below/answer.json")
    for name in ("later", "invoked"):  # its answers are stored when it has stopped
        world.do("DeleteEndpoint", EndpointName=name)
    answer = (world.directory / "data/invoked/below/answer.json").read_bytes()
    world.note_received(answer, texts)
    _, _, answer = world.call("InvokeEndpointAsync", EndpointName="none")
    assert b"Endpoint none of account" in answer
    world.reads.add((world.operation, "EndpointName"))


def run_metrics_of_a_run(world: World) -> None:
    world.do("CreateTrialComponent", TrialComponentName="run")
    now = time.time()
    values = [{"MetricName": "loss", "Timestamp": now, "Value": 1.0, "Step": 3}]
    world.do("BatchPutMetrics", TrialComponentName="run", MetricData=values)
    arn = f"{ARN}:experiment-trial-component/run"
    query = {"MetricName": "loss", "ResourceArn": arn, "MetricStat": "Last", "Start": 3, "End": 3}
    axis = {"Period": "IterationNumber", "XAxisType": "IterationNumber"}
    world.do("BatchGetMetrics", MetricQueries=[{**query, **axis}])


@pytest.fixture(scope="module")
def reads(tmp_path_factory: pytest.TempPathFactory) -> Reads:
    """Return what is asked for of requests of all operations of the table."""
    world = World(tmp_path_factory.mktemp("fields"))
    merge = component_rules.merge

    def merge_watched(old: Any, new: Any) -> Any:
        """Watch what is merged, which is a copy."""
        merged = merge(old, new)
        return watch(merged, "UpdateInferenceComponent", world.reads, "Specification")

    container = {"Image": "aws_user", "ModelDataUrl": world.model}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(component_rules, "merge", merge_watched)
        world.do("CreateModel", ModelName="one", ExecutionRoleArn=ROLE, PrimaryContainer=container)
        rewatch_headers(world, patch)
        for run in (
            *(run_training, run_other_jobs, run_models),
            *(run_variants, run_updates, run_components),
            *(run_invocations, run_metrics_of_a_run),
        ):
            run(world)
    world.account.store.close()
    return world.reads


def rewatch_headers(world: World, patch: pytest.MonkeyPatch) -> None:
    """Watch the headers of the runtime API, which are copied on their way, as members."""

    def watched(headers: Any) -> Any:
        return WatchedHeaders(headers, world.operation, world.reads)

    read_headers, select_headers = invocation_http.read_headers, invocation.select_headers
    read_options = Options.read
    patch.setattr(invocation_http, "read_headers", lambda *given: watched(read_headers(*given)))
    patch.setattr(invocation, "select_headers", lambda *given: watched(select_headers(*given)))
    patch.setattr(Options, "read", lambda headers: read_options(watched(headers)))


class WatchedHeaders(Watched):
    """Headers that note the members they are."""

    def __init__(self, headers: Any, operation: str, reads: Reads) -> None:
        super().__init__(headers, operation, "", reads)
        self._members = invocation_members.list_members(operation) if operation else {}

    def note(self, name: str) -> None:
        """Note the member of a header."""
        if name in self._members:
            super().note(self._members[name])


@pytest.mark.parametrize("operation", sorted(treatments.TREATMENTS))
def test_each_emulated_leaf_is_read_by_code_that_acts(reads: Reads, operation: str) -> None:
    table = treatments.TREATMENTS[operation]
    leaves = {
        path.removesuffix("[]") for path in list_leaves(shapes.find_input_shape(operation), "")
    }
    emulated = {path for path in leaves & table.keys() if table[path].kind in TAKEN}
    read = {path for name, path in reads if name == operation}
    assert len(emulated) >= 1
    assert emulated - read == JUDGED.get(operation, set())


SPOT = {"MaxRuntimeInSeconds": 1, "MaxWaitTimeInSeconds": 2}
PROCESSING = {
    "ProcessingJobName": "job",
    "RoleArn": ROLE,
    "AppSpecification": {"ImageUri": "any"},
    "ProcessingResources": {"ClusterConfig": CLUSTER},
}


def make_inputs(*names: str) -> list[dict[str, Any]]:
    return [{"InputName": name, "AppManaged": True} for name in names]


def make_component(least_mb: int) -> dict[str, Any]:
    memory = {"MinMemoryRequiredInMb": least_mb, "MaxMemoryRequiredInMb": 200}
    specification = {"ModelName": "m", "ComputeResourceRequirements": memory}
    return {"InferenceComponentName": "c", "EndpointName": "e", "Specification": specification}


@pytest.mark.parametrize(
    ("operation", "good", "bad", "fault"),
    [
        (
            "CreateTrainingJob",
            {"EnableManagedSpotTraining": True, "StoppingCondition": SPOT},
            {"EnableManagedSpotTraining": False, "StoppingCondition": SPOT},
            "only spot training waits",
        ),
        (
            "CreateProcessingJob",
            {**PROCESSING, "ProcessingInputs": make_inputs("a", "b")},
            {**PROCESSING, "ProcessingInputs": make_inputs("a", "a")},
            "InputName 'a' is used twice",
        ),
        (
            "CreateInferenceComponent",
            make_component(100),
            make_component(300),
            "must be at least MinMemoryRequiredInMb, 300",
        ),
    ],
)
def test_what_only_rules_ask_for_decides_whether_a_request_is_refused(
    operation: str, good: Any, bad: Any, fault: str
) -> None:
    assert fault not in "".join(rules.find_faults(operation, good))
    assert fault in "".join(rules.find_faults(operation, bad))
