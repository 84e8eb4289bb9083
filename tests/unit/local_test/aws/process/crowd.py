"""An account in which nothing runs, with two of everything: `other`, and `known`, made later."""

import copy
import itertools
import json
import secrets
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from container.errors import UserError
from local_test.aws.account import kinds
from local_test.aws.account.account import Account
from local_test.aws.account.kinds import Kind
from local_test.aws.account.settings import Settings
from local_test.aws.account.store import Store
from local_test.aws.process import operations
from local_test.aws.protocol.messages import AwsError
from local_test.requests import shapes
from tests.unit.local_test.aws.conftest import PlayedServices, refuse_to_run
from tests.unit.local_test.aws.process import request_leaves
from tests.unit.local_test.aws.process.request_leaves import ARN, SCALED

Request = dict[str, Any]
Records = dict[str, dict[str, Any]]
ROLE: Final = "arn:aws:iam::000000000000:role/test"
IMAGE: Final = "000000000000.dkr.ecr.us-east-1.amazonaws.com/user:1"
TOKEN: Final = "known" * 8
NAMES: Final = ("other", "known")
TARGET: Final = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": SCALED,
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}
COMPONENT: Final = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": "inference-component/known",
    "ScalableDimension": "sagemaker:inference-component:DesiredCopyCount",
}
METRIC: Final = "PredefinedMetricSpecification.PredefinedMetricType"
CONTAINERS: Final = {"Containers": [{"Image": IMAGE}]}
INSTANCES: Final = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}
TRAINING: Final[Request] = {
    "AlgorithmSpecification": {
        "TrainingImage": IMAGE,
        "TrainingInputMode": "File",
        "MetricDefinitions": [{"Name": "Metric", "Regex": "x=([0-9.]+)"}],
    },
    "RoleArn": ROLE,
    "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"},
    "ResourceConfig": INSTANCES,
    "StoppingCondition": {"MaxRuntimeInSeconds": 600},
}
TUNING: Final[Request] = {
    "HyperParameterTuningJobConfig": {
        "Strategy": "Bayesian",
        "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "Metric"},
        "ResourceLimits": {"MaxNumberOfTrainingJobs": 20, "MaxParallelTrainingJobs": 1},
        "ParameterRanges": {
            "IntegerParameterRanges": [{"Name": "x", "MinValue": "1", "MaxValue": "2"}]
        },
    },
    "TrainingJobDefinition": TRAINING,
}
PIPELINE: Final = json.dumps(
    {
        "Version": "2020-12-01",
        "Parameters": [{"Name": "known", "Type": "String"}, {"Name": "other", "Type": "String"}],
        "Steps": [{"Name": name, "Type": "Fail", "Arguments": {}} for name in NAMES],
    }
)
GIVEN: Final = [{"Name": name, "Value": name} for name in NAMES]
SOURCE: Final = {"SourceUri": "known", "SourceTypes": [{"SourceIdType": "MD5Hash", "Value": "a"}]}
_VARIANT: Final = {
    "VariantName": "AllTraffic",
    "ModelName": "known",
    "InstanceType": "ml.m5.large",
    "InitialInstanceCount": 1,
}
_RESOURCES: Final[Mapping[str, Request]] = {
    "ModelPackageGroup": {},
    "TrainingJob": {**TRAINING, "Tags": [{"Key": name, "Value": "x"} for name in NAMES]},
    "ProcessingJob": {
        "AppSpecification": {"ImageUri": IMAGE},
        "ProcessingResources": {"ClusterConfig": INSTANCES},
    },
    "HyperParameterTuningJob": TUNING,
    "Model": {"PrimaryContainer": {"Image": IMAGE}},
    "EndpointConfig": {"ProductionVariants": [_VARIANT]},
    "Endpoint": {"EndpointConfigName": "known"},
    "Pipeline": {"PipelineDefinition": PIPELINE},
    "Experiment": {},
    "Trial": {"ExperimentName": "other"},
    "TrialComponent": {"Source": {"SourceArn": f"{ARN}:training-job/known"}},
    "Artifact": {"Source": SOURCE, "ArtifactType": "known", "Properties": {"known": "x"}},
    "Action": {"ActionType": "known", "Properties": {"known": "x"}},
    "Context": {"ContextType": "known", "Properties": {"known": "x"}},
    "ModelCard": {"Content": "{}"},
    "Algorithm": {},
}
_ARTIFACTS: Final = ("InputArtifacts", "OutputArtifacts")


class MemoryStore(Store):
    """Records that are on no disk, and can be put back."""

    def save(self) -> Records:
        """Return all records; a change puts another one in the place of one."""
        return {kind: dict(records) for kind, records in self._records.items()}

    def restore(self, records: Records) -> None:
        """Put records back."""
        self._records = {kind: dict(found) for kind, found in records.items()}

    def list_changes(self, records: Records) -> Iterator[tuple[Kind[Any], str, Request]]:
        """Yield the records that differ from earlier ones; one that is gone is empty."""
        for kind, found in self._records.items():
            before = records.get(kind, {})
            for name in before.keys() | found.keys():
                if before.get(name) is not found.get(name):
                    yield kinds.ALL[kind], name, found.get(name, {})

    def _run(self, *_: object) -> None:
        """Write nothing."""


class Crowd:
    """The account, which is as at first before each request; times and names do not vary."""

    def __init__(self, directory: Path, patch: pytest.MonkeyPatch) -> None:
        self._store = MemoryStore(directory / "state.sqlite")
        services = PlayedServices()
        self.account = Account(directory, Settings(), self._store, refuse_to_run, services)
        patch.setattr(self.account, "start_thread", lambda *_: None)
        patch.setattr(time, "time", lambda: float(next(self._moments)))
        patch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=next(self._moments)))
        patch.setattr(secrets, "choice", lambda letters: letters[self._letter])
        self._letter = 0
        self._moments = itertools.count(1000)
        self._fill()
        self._letter = 2
        self.records = self._store.save()

    def ask(self, operation: str, request: Request) -> tuple[str, list[Any]]:
        """Return the answer or the refusal, and what it has changed: kind, name, record."""
        self._store.restore(self.records)
        self._moments = itertools.count(10**6)
        try:
            answer = operations.OPERATIONS[operation](self.account, copy.deepcopy(request))
        except (AwsError, UserError) as error:
            return f"refused: {error}", []
        return repr(answer), list(self._store.list_changes(self.records))

    def _do(self, operation: str, **request: Any) -> None:
        operations.OPERATIONS[operation](self.account, copy.deepcopy(request))

    def _fill(self) -> None:
        for noun, members in _RESOURCES.items():
            for name in NAMES:
                shape = shapes.input_shape(f"Create{noun}")
                request = {**request_leaves.make_least(shape), **members}
                if f"{noun}Name" in shape.members:
                    request[f"{noun}Name"] = name
                if "ClientRequestToken" in shape.members:
                    request["ClientRequestToken"] = name * 8
                self._do(f"Create{noun}", **request)
        for name in NAMES:
            for version in range(2):
                given = {"InferenceSpecification": CONTAINERS, "ClientToken": f"{name}{version}"}
                self._do("CreateModelPackage", ModelPackageGroupName=name, **given)
            self._do("CreateModelPackage", ModelPackageName=name, **given)
        self._do("PutModelPackageGroupPolicy", ModelPackageGroupName="known", ResourcePolicy="{}")
        self._do(
            "UpdateModelPackage",
            ModelPackageArn=f"{ARN}:model-package/known/1",
            ModelApprovalStatus="Approved",
            CustomerMetadataProperties={"known": "x"},
        )
        self._do("UpdateModelCard", ModelCardName="known", Content='{"x": 1}')
        for end in ("context", "artifact"):
            ends = {"SourceArn": f"{ARN}:action/known", "DestinationArn": f"{ARN}:{end}/known"}
            if end == "artifact":
                self._rename_artifact()
            self._do("AddAssociation", AssociationType="Produced", **ends)
        self._do("AssociateTrialComponent", TrialComponentName="known", TrialName="known")
        values = {"Parameters": {"known": {"NumberValue": 1}}}
        artifacts = {name: {"known": {"Value": "x"}} for name in _ARTIFACTS}
        self._do("UpdateTrialComponent", TrialComponentName="known", **values, **artifacts)
        self._start_pipeline()
        self._insert_what_runs()
        self._scale()

    def _rename_artifact(self) -> None:
        """Name the last artifact, whose name is a number."""
        [*_, record] = self._store.list(kinds.ARTIFACT)
        self._store.update(kinds.ARTIFACT, record["_name"], ArtifactArn=f"{ARN}:artifact/known")

    def _start_pipeline(self) -> None:
        self._do(
            "StartPipelineExecution",
            PipelineName="known",
            ClientRequestToken=TOKEN,
            PipelineParameters=GIVEN,
        )
        [begun] = self._store.list(kinds.PIPELINE_EXECUTION)
        steps = {
            name: {"StepStatus": "Failed", "StartTime": 1.0 + i} for i, name in enumerate(NAMES)
        }
        ended = {
            "PipelineExecutionStatus": "Failed",
            "_name": "b" * 12,
            "_token": "b",
            "_steps": steps,
            "CreationTime": 5.0,
            "LastModifiedTime": 5.0,
        }
        arn = begun["PipelineExecutionArn"].replace("a" * 12, "b" * 12)
        self._store.insert(
            kinds.PIPELINE_EXECUTION, "b" * 12, {**begun, **ended, "PipelineExecutionArn": arn}
        )

    def _insert_what_runs(self) -> None:
        """Insert what would have to run, and set statuses."""
        for moment, name in enumerate(NAMES, 1):
            times = {"CreationTime": float(moment), "LastModifiedTime": float(moment)}
            status = "InService" if name == "known" else "Failed"
            self._store.update(kinds.ENDPOINT, name, EndpointStatus="InService")
            component = {
                "InferenceComponentName": name,
                "InferenceComponentArn": f"{ARN}:inference-component/{name}",
                "InferenceComponentStatus": status,
                "EndpointName": name,
                "EndpointArn": f"{ARN}:endpoint/{name}",
                "VariantName": name,
                "_requests": {"specification": {}, "model": {}, "copies": 1},
                **times,
            }
            self._store.insert(kinds.COMPONENT, name, component)
            transform = {
                "TransformJobName": name,
                "TransformJobArn": f"{ARN}:transform-job/{name}",
                "TransformJobStatus": "Completed" if name == "known" else "InProgress",
                **times,
            }
            self._store.insert(kinds.TRANSFORM_JOB, name, transform)
            tuned = {"_tuning": "known", "_definition": 0, "_tuned": {"x": "1"}}
            final = [{"MetricName": "Metric", "Value": 2.0 - moment, "Timestamp": 1.0}]
            ended = {
                "TrainingJobStatus": "Completed" if name == "known" else "Stopped",
                "FinalMetricDataList": final,
                "CreationTime": float(moment),
            }
            self._store.update(
                kinds.TRAINING_JOB,
                name,
                **tuned,
                **ended,
                InputDataConfig=[{"ChannelName": "training"}],
            )
        self._store.update(kinds.TUNING_JOB, "known", HyperParameterTuningJobStatus="Completed")
        self._store.update(kinds.PROCESSING_JOB, "other", ProcessingJobStatus="Completed")

    def _scale(self) -> None:
        for target in (TARGET, COMPONENT):
            self._do("RegisterScalableTarget", **target, MinCapacity=1, MaxCapacity=2)
            kind = (
                "InferenceComponentInvocationsPerCopy"
                if target is COMPONENT
                else "VariantInvocationsPerInstance"
            )
            tracking = {
                "TargetValue": 1.0,
                "PredefinedMetricSpecification": {"PredefinedMetricType": f"SageMaker{kind}"},
            }
            self._do(
                "PutScalingPolicy",
                **target,
                PolicyName="known",
                PolicyType="TargetTrackingScaling",
                TargetTrackingScalingPolicyConfiguration=tracking,
            )
            activity = {
                **target,
                "ActivityId": target["ResourceId"],
                "Description": "x",
                "Cause": "x",
                "StartTime": 1.0,
                "StatusCode": "Successful",
            }
            self._store.insert(kinds.SCALING_ACTIVITY, target["ResourceId"], activity)
