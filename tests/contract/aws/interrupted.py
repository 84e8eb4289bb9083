"""What is under way when a local AWS ends, and what must be true of it after the next start.

`how` is `kill` for SIGKILL, and `down` for the command.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tests.contract.aws.client import LocalAws, sum_metric, training_request, wait_for_status
from tests.contract.aws.test_components import NEEDS, make_component, wait_for_component
from tests.contract.aws.test_components import ask as ask_component
from tests.contract.aws.test_components import make_endpoint as make_shared_endpoint
from tests.contract.aws.test_endpoints import (
    collect,
    invoke,
    listen,
    make_config,
    make_model,
    wait_until_settled,
)
from tests.contract.aws.test_jobs import DEFINITION_MEMBERS
from tests.contract.aws.test_pipelines import list_statuses, make_step, wait_until_ended
from tests.contract.aws.test_pipelines import start as start_pipeline
from tests.contract.aws.test_rollouts import make_canary, put_alarm, wait_for_stage
from tests.support import wait_for

LONG: Final = {"epochs": "100000", "epoch_s": "0.1"}
UNTIL: Final = {**LONG, "until": "go.csv"}
"""A job that ends soon if it starts once `let_go` was called."""
COPIES: Final = {"copied": 2, "changed": 1, "none": 0}
LOST: Final = "InternalServerError"


@dataclass(frozen=True)
class Work:
    """One kind of what can be under way."""

    begin: Callable[[LocalAws], Any]
    """Returns when it is in the middle, with what `check` needs to know."""
    check: Callable[[LocalAws, str, Any], None]
    """Called after the restart with `how` and what `begin` returned."""


def make_endpoint(aws: LocalAws, name: str, model: Mapping[str, Any], **config: Any) -> None:
    """Create an endpoint of one variant, and wait for it."""
    make_config(aws, name, {"VariantName": "one", **model}, **config)
    aws.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    wait_until_settled(aws, name)


def make_containers(aws: LocalAws, *names: str) -> list[dict[str, Any]]:
    """Return containers of one model, each with an artifact of its own name."""
    for name in names:
        make_model(aws, name)
    prefix = f"s3://{aws.bucket}/models"
    return [
        {
            "Image": aws.image,
            "ContainerHostname": name,
            "ModelDataUrl": f"{prefix}/{name}/model.tar.gz",
        }
        for name in names
    ]


def check_in_service(aws: LocalAws, name: str) -> dict[str, Any]:
    described = wait_until_settled(aws, name)
    assert described["EndpointStatus"] == "InService", described
    return described


def begin_endpoint(aws: LocalAws) -> None:
    make_model(aws, "plain")
    make_endpoint(aws, "plain", {"ModelName": "plain"})
    aws.sagemaker.delete_model(ModelName="plain")


def check_endpoint(aws: LocalAws, _how: str, _fact: object) -> None:
    check_in_service(aws, "plain")
    assert invoke(aws, "plain")["model"] == {"name": "plain"}


def begin_update(aws: LocalAws) -> None:
    make_model(aws, "updated")
    make_model(aws, "next", START_S="5")
    make_endpoint(aws, "updated", {"ModelName": "updated"})
    make_config(aws, "next", {"VariantName": "one", "ModelName": "next"})
    aws.sagemaker.update_endpoint(EndpointName="updated", EndpointConfigName="next")


def check_update(aws: LocalAws, _how: str, _fact: object) -> None:
    assert check_in_service(aws, "updated")["EndpointConfigName"] == "next"
    assert invoke(aws, "updated")["model"] == {"name": "next"}


def begin_canary(aws: LocalAws) -> None:
    make_model(aws, "blue")
    make_endpoint(aws, "guarded", {"ModelName": "blue"})
    put_alarm(aws, "kept", "guarded")
    make_config(aws, "green", {"VariantName": "one", "ModelName": "blue"})
    aws.sagemaker.update_endpoint(
        EndpointName="guarded",
        EndpointConfigName="green",
        DeploymentConfig=make_canary(wait_s=3600),
    )
    wait_for_stage(aws, "guarded", "canary capacity")


def check_canary(aws: LocalAws, _how: str, _fact: object) -> None:
    (alarm,) = aws.client("cloudwatch").describe_alarms(AlarmNames=["kept"])["MetricAlarms"]
    assert alarm["TreatMissingData"] == "notBreaching"
    described = check_in_service(aws, "guarded")
    assert described["EndpointConfigName"] == "guarded"
    assert "local AWS ended before endpoint configuration green" in described["FailureReason"]
    assert "PendingDeploymentSummary" not in described


def begin_chain(aws: LocalAws) -> None:
    containers = make_containers(aws, "prepares", "predicts")
    aws.sagemaker.create_model(ModelName="chain", ExecutionRoleArn=aws.role, Containers=containers)
    make_endpoint(aws, "chain", {"ModelName": "chain"})


def check_chain(aws: LocalAws, _how: str, _fact: object) -> None:
    check_in_service(aws, "chain")
    answer = invoke(aws, "chain", b"again")
    assert json.loads(answer["echo"])["echo"] == "again"
    assert answer["model"] == {"name": "predicts"}


def begin_direct(aws: LocalAws) -> None:
    aws.sagemaker.create_model(
        ModelName="direct",
        ExecutionRoleArn=aws.role,
        Containers=make_containers(aws, "left", "right"),
        InferenceExecutionConfig={"Mode": "Direct"},
    )
    make_endpoint(aws, "direct", {"ModelName": "direct"})


def check_direct(aws: LocalAws, _how: str, _fact: object) -> None:
    check_in_service(aws, "direct")
    for name in ("left", "right"):
        answer = invoke(aws, "direct", TargetContainerHostname=name)
        assert answer["model"] == {"name": name}


def begin_shadow(aws: LocalAws) -> None:
    make_model(aws, "production")
    make_model(aws, "candidate")
    shadow = {
        "VariantName": "candidate",
        "ModelName": "candidate",
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }
    make_endpoint(aws, "shadowed", {"ModelName": "production"}, ShadowProductionVariants=[shadow])


def check_shadow(aws: LocalAws, _how: str, _fact: object) -> None:
    described = check_in_service(aws, "shadowed")
    assert described["ShadowProductionVariants"][0]["CurrentInstanceCount"] == 1
    before = count_copies(aws, "shadowed")
    for _ in range(2):
        assert invoke(aws, "shadowed")["model"] == {"name": "production"}
    wait_for(lambda: count_copies(aws, "shadowed"), lambda count: count == before + 2)


def count_copies(aws: LocalAws, name: str) -> int:
    """Return how many requests the shadow variant has answered."""
    return int(sum_metric(aws, "Invocations", EndpointName=name, VariantName="candidate"))


def begin_serverless(aws: LocalAws) -> None:
    make_model(aws, "zero")
    config = {"MemorySizeInMB": 1024, "MaxConcurrency": 1}
    variant = {"VariantName": "one", "ModelName": "zero", "ServerlessConfig": config}
    aws.sagemaker.create_endpoint_config(EndpointConfigName="zero", ProductionVariants=[variant])
    aws.sagemaker.create_endpoint(EndpointName="zero", EndpointConfigName="zero")
    wait_until_settled(aws, "zero")


def check_serverless(aws: LocalAws, _how: str, _fact: object) -> None:
    check_in_service(aws, "zero")
    assert invoke(aws, "zero")["model"] == {"name": "zero"}


def begin_components(aws: LocalAws) -> None:
    make_model(aws, "first")
    make_model(aws, "second", START_S="5")
    make_shared_endpoint(aws, "shared")
    for name, count in COPIES.items():
        make_component(aws, name, "shared", count, ModelName="first")
    component = {"EndpointName": "shared", "Specification": {"ModelName": "second", **NEEDS}}
    aws.sagemaker.create_inference_component(InferenceComponentName="starting", **component)
    aws.sagemaker.update_inference_component(
        InferenceComponentName="changed", Specification={"ModelName": "second"}
    )


def check_components(aws: LocalAws, _how: str, _fact: object) -> None:
    check_in_service(aws, "shared")
    for name, count in {**COPIES, "starting": 1}.items():
        described = wait_for_component(aws, name)
        assert described["InferenceComponentStatus"] == "InService"
        assert described["RuntimeConfig"]["CurrentCopyCount"] == count
    for name, model in (("copied", "first"), ("changed", "second"), ("starting", "second")):
        assert ask_component(aws, "shared", name)["model"] == {"name": model}


def begin_async(aws: LocalAws) -> dict[str, str]:
    """Send requests of which one has begun, and return where each must be answered."""
    make_model(aws, "queued", SLEEP_S="15")
    topic = listen(aws, "queued")
    output = {
        "S3OutputPath": f"s3://{aws.bucket}/queued/out",
        "S3FailurePath": f"s3://{aws.bucket}/queued/failed",
        "NotificationConfig": dict.fromkeys(("SuccessTopic", "ErrorTopic"), topic),
    }
    client = {"MaxConcurrentInvocationsPerInstance": 1}
    config = {"OutputConfig": output, "ClientConfig": client}
    make_endpoint(aws, "queued", {"ModelName": "queued"}, AsyncInferenceConfig=config)
    aws.s3.put_object(Bucket=aws.bucket, Key="queued/in", Body=b"stored")
    sources: dict[str, dict[str, Any]] = {
        "begun": {"Body": b"sleep"},
        "inline": {"Body": b"inline"},
        "stored": {"InputLocation": f"s3://{aws.bucket}/queued/in"},
        "fail": {"Body": b"fail"},
        "missing": {"InputLocation": f"s3://{aws.bucket}/queued/none"},
    }
    places = {}
    for name, source in sources.items():
        receipt = aws.runtime.invoke_endpoint_async(
            EndpointName="queued", InferenceId=name, ContentType="text/plain", **source
        )
        kind = "Failure" if name in ("fail", "missing") else "Output"
        places[name] = receipt[f"{kind}Location"].removeprefix(f"s3://{aws.bucket}/")
    return places


def check_async(aws: LocalAws, how: str, places: dict[str, str]) -> None:
    wanted = {
        "begun": b"slept",
        "inline": b'"echo": "inline"',
        "stored": b'"echo": "stored"',
        "fail": b"it broke",
        "missing": b"queued/none",
    }
    received: list[dict[str, Any]] = []
    while sum("Message" in item for item in received) < len(wanted):
        received += collect(aws, "queued", 1)
    results = [json.loads(item["Message"]) for item in received if "Message" in item]
    statuses = [(item["inferenceId"], item["invocationStatus"]) for item in results]
    assert Counter(statuses) == Counter(
        (name, "Failed" if name in ("fail", "missing") else "Completed") for name in wanted
    )
    for name, body in wanted.items():
        stored = aws.s3.get_object(Bucket=aws.bucket, Key=places[name])["Body"].read()
        assert body in stored, (name, stored)
    aws.runtime.invoke_endpoint_async(EndpointName="queued", InferenceId="new", Body=b"new")
    (message,) = [item for item in collect(aws, "queued", 1) if "Message" in item]
    assert json.loads(message["Message"])["inferenceId"] == "new"
    after = len(wanted) + (how == "kill")  # which runs the one that had begun again
    named = {"EndpointName": "queued", "VariantName": "one"}
    wait_for(lambda: sum_metric(aws, "InvocationsProcessed", **named), lambda sum_: sum_ == after)


def begin_training(aws: LocalAws) -> None:
    aws.sagemaker.create_training_job(**training_request(aws, "lost", HyperParameters=LONG))
    retry = {"RetryStrategy": {"MaximumRetryAttempts": 1}}
    request = training_request(aws, "retried", HyperParameters=UNTIL, **retry)
    aws.sagemaker.create_training_job(**request)
    for name in ("lost", "retried"):
        wait_for_status(aws, name, secondary="Training")
    wait_for(lambda: read_log(aws, "TrainingJobs", "lost"), bool)


def check_training(aws: LocalAws, how: str, _fact: object) -> None:
    lost, retried = (wait_for_status(aws, name) for name in ("lost", "retried"))
    assert read_log(aws, "TrainingJobs", "lost")
    entered = [item["Status"] for item in retried["SecondaryStatusTransitions"]]
    if how == "kill":
        assert lost["TrainingJobStatus"] == "Failed"
        assert lost["FailureReason"].startswith(LOST)
        assert (retried["TrainingJobStatus"], "Restarting" in entered) == ("Completed", True)
    else:
        assert [item["TrainingJobStatus"] for item in (lost, retried)] == ["Stopped"] * 2


def begin_processing(aws: LocalAws) -> None:
    cluster = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
    aws.sagemaker.create_processing_job(
        ProcessingJobName="lost",
        ProcessingResources={"ClusterConfig": cluster},
        AppSpecification={"ImageUri": aws.image},
        Environment={"PROCESS_S": "600"},
        RoleArn=aws.role,
    )
    wait_for(lambda: read_log(aws, "ProcessingJobs", "lost"), bool)


def check_processing(aws: LocalAws, how: str, _fact: object) -> None:
    check_job(aws.sagemaker.describe_processing_job(ProcessingJobName="lost"), "Processing", how)


def read_log(aws: LocalAws, kind: str, job: str) -> list[str]:
    """Return the lines of a job's log so far."""
    logs, group = aws.client("logs"), f"/aws/sagemaker/{kind}"
    if not logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
        return []
    found = logs.filter_log_events(logGroupName=group, logStreamNamePrefix=f"{job}/")["events"]
    return [event["message"] for event in found]


def check_job(described: dict[str, Any], title: str, how: str) -> None:
    """Check that a job without retries has an end, with a reason if it was lost."""
    status = described[f"{title}JobStatus"]
    assert status == ("Failed" if how == "kill" else "Stopped")
    assert how == "down" or described["FailureReason"].startswith(LOST)


def begin_transform(aws: LocalAws) -> None:
    make_model(aws, "batch", SLEEP_S="600")
    aws.s3.put_object(Bucket=aws.bucket, Key="batch/in/a.txt", Body=b"sleep")
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{aws.bucket}/batch/in/"}}
    aws.sagemaker.create_transform_job(
        TransformJobName="lost",
        ModelName="batch",
        TransformInput={"DataSource": source, "ContentType": "text/plain"},
        TransformOutput={"S3OutputPath": f"s3://{aws.bucket}/batch/out"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
    )
    wait_for(lambda: read_log(aws, "TransformJobs", "lost"), bool)


def check_transform(aws: LocalAws, how: str, _fact: object) -> None:
    check_job(aws.sagemaker.describe_transform_job(TransformJobName="lost"), "Transform", how)


def let_go(aws: LocalAws) -> None:
    """Let jobs that start from now on end soon."""
    aws.s3.put_object(Bucket=aws.bucket, Key="data/go.csv", Body=b"1,2\n")


def wait_until_training(aws: LocalAws, name: str) -> None:
    """Wait until a job with `name` in its name, made by another job, is past its download."""
    found = wait_for(
        lambda: aws.sagemaker.list_training_jobs(NameContains=name)["TrainingJobSummaries"], bool
    )
    wait_for_status(aws, found[0]["TrainingJobName"], secondary="Training")


def begin_tuning(aws: LocalAws) -> None:
    request = training_request(aws, "unused")
    definition = {key: request[key] for key in DEFINITION_MEMBERS}
    objective = {"Type": "Maximize", "MetricName": "validation_accuracy"}
    rates = {"Name": "learning_rate", "MinValue": "0.1", "MaxValue": "1"}
    aws.sagemaker.create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName="continued",
        HyperParameterTuningJobConfig={
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": objective,
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 1},
            "ParameterRanges": {"ContinuousParameterRanges": [rates]},
        },
        TrainingJobDefinition={
            **definition,
            "StaticHyperParameters": UNTIL,
        },
    )
    wait_until_training(aws, "continued-001")


def describe_tuning(aws: LocalAws) -> Any:
    return aws.sagemaker.describe_hyper_parameter_tuning_job(
        HyperParameterTuningJobName="continued"
    )


def check_tuning(aws: LocalAws, how: str, _fact: object) -> None:
    described = wait_for(
        lambda: describe_tuning(aws),
        lambda answer: answer["HyperParameterTuningJobStatus"] not in ("InProgress", "Stopping"),
    )
    assert described["HyperParameterTuningJobStatus"] == "Completed"
    counters = described["TrainingJobStatusCounters"]
    ended = {name: count for name, count in counters.items() if count}
    lost = "RetryableError" if how == "kill" else "Stopped"
    assert ended == {"Completed": 1, lost: 1}


def begin_pipeline(aws: LocalAws) -> str:
    first = make_step(aws, "Long", **UNTIL)
    first["Arguments"]["RetryStrategy"] = {"MaximumRetryAttempts": 1}
    arn = start_pipeline(aws, "continued", [first, make_step(aws, "Last", "Long")])
    wait_until_training(aws, "-Long-")
    return arn


def check_pipeline(aws: LocalAws, how: str, arn: str) -> None:
    ended = wait_until_ended(aws, arn)
    if how == "kill":
        assert ended["PipelineExecutionStatus"] == "Succeeded"
        assert list_statuses(aws, arn) == {"Long": "Succeeded", "Last": "Succeeded"}
    else:
        assert ended["PipelineExecutionStatus"] == "Failed"
        assert list_statuses(aws, arn) == {"Long": "Failed"}


WORK: Final[Mapping[str, Work]] = {
    "endpoint": Work(begin_endpoint, check_endpoint),
    "update": Work(begin_update, check_update),
    "canary": Work(begin_canary, check_canary),
    "chain": Work(begin_chain, check_chain),
    "direct": Work(begin_direct, check_direct),
    "shadow": Work(begin_shadow, check_shadow),
    "serverless": Work(begin_serverless, check_serverless),
    "components": Work(begin_components, check_components),
    "processing": Work(begin_processing, check_processing),
    "transform": Work(begin_transform, check_transform),
    "tuning": Work(begin_tuning, check_tuning),
    "pipeline": Work(begin_pipeline, check_pipeline),
    "training": Work(begin_training, check_training),
    "asynchronous": Work(begin_async, check_async),
}
"""By name; what would end soon comes last."""


@dataclass(frozen=True)
class Hosted:
    """How to ask an endpoint that the work of the same name has created."""

    endpoint: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    is_asynchronous: bool = False

    def ask(self, aws: LocalAws, body: bytes) -> bytes:
        """Return an answer. Raises: ClientError if there is none."""
        arguments = {"EndpointName": self.endpoint, "ContentType": "text/plain", **self.arguments}
        if not self.is_asynchronous:
            answer = aws.runtime.invoke_endpoint(Body=body, **arguments)
            return bytes(answer["Body"].read())
        receipt = aws.runtime.invoke_endpoint_async(Body=body, **arguments)
        prefix = f"s3://{aws.bucket}/"
        keys = [receipt[f"{kind}Location"].removeprefix(prefix) for kind in ("Output", "Failure")]

        def look() -> list[dict[str, Any]]:
            listed = aws.s3.list_objects_v2(Bucket=aws.bucket, Prefix="queued/")["Contents"]
            return [item["Key"] for item in listed if item["Key"] in keys]

        (key,) = wait_for(look, bool)
        return bytes(aws.s3.get_object(Bucket=aws.bucket, Key=key)["Body"].read())

    def list_containers(self, aws: LocalAws) -> dict[str, Callable[[], object]]:
        """Return what kills each of its containers, by process or container ID."""
        place = f"{aws.directory}/endpoints/{self.endpoint}/"
        if aws.program is None:
            import docker  # noqa: PLC0415 - only where there is an engine

            client = docker.from_env()
            found = client.containers.list(filters={"label": "byo.local-test"}, ignore_removed=True)
            return {item.id: item.kill for item in found if place in str(item.attrs["Mounts"])}
        listed = subprocess.run(["pgrep", "-f", place], check=False, capture_output=True, text=True)
        return {
            pid: functools.partial(os.kill, int(pid), signal.SIGKILL)
            for pid in listed.stdout.split()
        }


HOSTED: Final[Mapping[str, Hosted]] = {
    "endpoint": Hosted("plain"),
    "chain": Hosted("chain"),
    "direct": Hosted("direct", {"TargetContainerHostname": "left"}),
    "shadow": Hosted("shadowed"),
    "asynchronous": Hosted("queued", is_asynchronous=True),
}
"""By the name of the work."""
