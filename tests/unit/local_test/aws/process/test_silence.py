"""Every leaf of every request is read by code, listed as kept for show, or refused."""

import functools
from typing import Any

import pytest

from local_test.aws.account import kinds
from local_test.aws.process import operations
from local_test.aws.protocol import messages
from local_test.aws.sagemaker import autoscaling
from local_test.requests import shapes, treatments
from tests.unit.local_test.aws.process import request_leaves
from tests.unit.local_test.aws.process.crowd import (
    CONTAINERS,
    GIVEN,
    INSTANCES,
    PIPELINE,
    SOURCE,
    TARGET,
    TRAINING,
    TUNING,
    Crowd,
)
from tests.unit.local_test.aws.process.later_reads import READERS
from tests.unit.local_test.aws.process.request_leaves import ARN, Path

SERVICES = ("sagemaker", "application-autoscaling")
OPERATIONS = sorted(
    name
    for name in operations.OPERATIONS
    if name not in treatments.TREATMENTS and name not in operations.RECORDED_HERE
)
EXECUTION = f"{ARN}:pipeline/known/execution/{'a' * 12}"
FINISHED = f"{ARN}:pipeline/known/execution/{'b' * 12}"
OBJECTIVE = {"Type": "Maximize", "MetricName": "Metric"}
RANGES = {
    "CategoricalParameterRanges": [{"Name": "x", "Values": ["1", "2"]}],
    "ContinuousParameterRanges": [{"Name": "y", "MinValue": "1", "MaxValue": "2"}],
    "IntegerParameterRanges": [{"Name": "z", "MinValue": "1", "MaxValue": "2"}],
}
DEFINED = {
    "DefinitionName": "d",
    "TuningObjective": OBJECTIVE,
    "HyperParameterRanges": RANGES,
    **TRAINING,
}
CHANNEL = {
    "ChannelName": "x",
    "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/x"}},
}
GROUP = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "InstanceGroupName": "g"}
TRACKING = {
    "TargetValue": 1.0,
    "PredefinedMetricSpecification": {
        "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
    },
}
FILTER = {"Name": "TrainingJobName", "Operator": "Equals", "Value": "known"}


def change(base: Any, path: str, value: Any) -> Any:
    """Return a request with another value somewhere; None removes it."""
    name, _, rest = path.partition(".")
    if rest:
        value = change(base.get(name, {}), rest, value)
    return {key: item for key, item in {**base, name: value}.items() if item is not None}


def tune(definition: dict[str, Any] | None = None, **members: Any) -> dict[str, Any]:
    """Return a tuning job, perhaps with several definitions."""
    request = {**TUNING, **members, "HyperParameterTuningJobName": "new"}
    return request if definition is None else {**request, "TrainingJobDefinition": definition}


def define_many() -> dict[str, Any]:
    """Return a tuning job with two definitions and no objective or ranges of its own."""
    request = change(tune(), "TrainingJobDefinition", None)
    config = {name: request[CONFIG][name] for name in ("Strategy", "ResourceLimits")}
    return {**request, CONFIG: config, "TrainingJobDefinitions": [DEFINED]}


CONFIG = "HyperParameterTuningJobConfig"
WARM = {
    "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "known"}],
    "WarmStartType": "TransferLearning",
}
SPOT = {"MaxRuntimeInSeconds": 1, "MaxWaitTimeInSeconds": 2}
SEARCH = {"Resource": "TrainingJob"}
NESTED = {"Name": "InputDataConfig.ChannelName", "Value": "training"}
VARIANT = {"VariantName": "AllTraffic"}
BASES: dict[str, list[dict[str, Any]]] = {
    "CreateModelPackage": [
        {"ModelPackageGroupName": "known", "InferenceSpecification": CONTAINERS},
        {"ModelPackageName": "new", "InferenceSpecification": CONTAINERS},
    ],
    "CreateModelCard": [{"Content": "{}"}],
    "PutScalingPolicy": [
        {
            **TARGET,
            "PolicyName": "new",
            "PolicyType": "TargetTrackingScaling",
            "TargetTrackingScalingPolicyConfiguration": TRACKING,
        }
    ],
    "DeleteScalingPolicy": [{**TARGET, "PolicyName": "known"}],
    "ListTags": [{"ResourceArn": f"{ARN}:training-job/known"}],
    "DeregisterScalableTarget": [TARGET],
    "RegisterScalableTarget": [{**TARGET, "MinCapacity": 1, "MaxCapacity": 2}],
    "CreateHyperParameterTuningJob": [
        tune(),
        change(tune(), f"{CONFIG}.ParameterRanges", RANGES),
        define_many(),
        tune({**TRAINING, "HyperParameterRanges": RANGES, "InputDataConfig": [CHANNEL]}),
        tune(change(TRAINING, "ResourceConfig", {"VolumeSizeInGB": 1, "InstanceGroups": [GROUP]})),
        tune({**TRAINING, "EnableManagedSpotTraining": True, "StoppingCondition": SPOT}),
        tune(
            {
                **change(TRAINING, "ResourceConfig", None),
                "HyperParameterTuningResourceConfig": INSTANCES,
            }
        ),
        tune(WarmStartConfig=WARM),
    ],
    "PutModelPackageGroupPolicy": [{"ResourcePolicy": "{}"}],
    "CreatePipeline": [{"PipelineDefinition": PIPELINE}],
    "StartPipelineExecution": [
        {"PipelineParameters": GIVEN},
        {
            "PipelineParameters": GIVEN,
            "SelectiveExecutionConfig": {"SelectedSteps": [{"StepName": "known"}]},
        },
    ],
    "ListPipelineExecutionSteps": [{"PipelineExecutionArn": FINISHED}],
    "ListPipelineParametersForExecution": [{"PipelineExecutionArn": FINISHED}],
    "RetryPipelineExecution": [{"PipelineExecutionArn": FINISHED}],
    "StopPipelineExecution": [{"PipelineExecutionArn": EXECUTION}],
    "DeletePipeline": [{"PipelineName": "other"}],
    "DeleteArtifact": [{"Source": SOURCE}, {"ArtifactArn": f"{ARN}:artifact/known"}],
    "DeleteTags": [{"ResourceArn": f"{ARN}:training-job/known"}],
    "ListModelPackages": [{"ModelPackageGroupName": "known"}, {}],
    "UpdateEndpointWeightsAndCapacities": [{"DesiredWeightsAndCapacities": [VARIANT]}],
    "Search": [
        SEARCH,
        {**SEARCH, "SearchExpression": {"Filters": [FILTER]}},
        {
            **SEARCH,
            "SearchExpression": {
                "Filters": [FILTER],
                "SubExpressions": [{"Filters": [{**FILTER, "Value": "x"}]}],
            },
        },
        {
            **SEARCH,
            "SearchExpression": {
                "NestedFilters": [{"NestedPropertyName": "InputDataConfig", "Filters": [NESTED]}]
            },
        },
    ],
}
"""Requests that are valid beside what the model requires; one that reads a leaf is enough."""
NAMESPACE = {"ServiceNamespace": "sagemaker"}
BASES |= {name: [NAMESPACE] for name in autoscaling.DESCRIBE_OPERATIONS}
WHOLE = "_request"
"""The member of a record that keeps the entire request, read or not."""


@functools.cache
def list_shown(kind: kinds.Kind[Any]) -> frozenset[str]:
    """Return the members of a kind's records that some answer shows."""
    model = shapes.service_model()
    describe = f"Describe{kind.prefix}"
    found = {"Tags"}  # by ListTags
    if kind.prefix and describe in model.operation_names:
        found |= set(messages.output_shape(describe).members)
    for shape in messages.summary_shape("Search", "Results").members.values():
        if kind.arn_name in shape.members:
            found |= set(shape.members)
    return frozenset(found)


class Walk:
    """What differs when one leaf does."""

    def __init__(self, crowd: Crowd, operation: str) -> None:
        service = SERVICES[operation not in shapes.service_model().operation_names]
        self._crowd = crowd
        self._operation = operation
        self.shape = shapes.input_shape(operation, service)
        least = request_leaves.make_least(self.shape)
        if operation.startswith("Create") and f"{operation[6:]}Name" in least:
            least[f"{operation[6:]}Name"] = "new"
        self.bases = [{**least, **given} for given in BASES.get(operation, [{}])]

    def judge(self, path: Path) -> str:
        """Return `read`, `refused`, `shown` or `silent`."""
        verdicts = set()
        for base in self.bases:
            verdicts.add(self._compare(path, base))
            if verdicts & {"read", "refused"}:
                break
        return next(item for item in ("read", "refused", "shown", "silent") if item in verdicts)

    def _compare(self, path: Path, base: dict[str, Any]) -> str:
        requests = list(request_leaves.vary(self.shape, base, path))
        answers, shown, kept = set(), set(), set()
        for request in requests:
            answer, changes = self._crowd.ask(self._operation, request)
            public, private = _divide(changes)
            answers.add(answer)
            shown.add(repr(public))
            kept.add(repr(private))
        if len(answers) > 1 or len(kept) > 1:
            return "read"
        [answer] = answers
        if answer.startswith("refused") and any(name in answer for name in path if name != "[]"):
            return "refused"
        if len(shown) == 1:
            return "silent"
        is_removed = self._operation.startswith("Delete") or path[0].endswith("ToRemove")
        is_read = is_removed or len({repr(self._read_later(request)) for request in requests}) > 1
        return "read" if is_read else "shown"

    def _read_later(self, request: dict[str, Any]) -> Any:
        reader = READERS.get(self._operation)
        if reader is None:
            return None
        _, changes = self._crowd.ask(self._operation, request)
        return [reader(self._crowd.account, record) for _, _, record in changes]


def _divide(changes: list[Any]) -> tuple[list[Any], list[Any]]:
    """Return what answers show of changed records, and what only code sees."""
    public: list[Any] = []
    private: list[Any] = []
    for kind, name, record in sorted(changes, key=lambda item: (item[0].name, item[1])):
        private.append((kind.name, name, not record))
        for key, value in sorted(record.items()):
            if key in list_shown(kind) or not kind.prefix or kind is kinds.ASSOCIATION:
                public.append((kind.name, name, key, value))
            elif key.startswith("_") and key != WHOLE:
                private.append((kind.name, name, key, value))
    return public, private


def find_listed(operation: str, label: str) -> str:
    """Return the path in the table of kept fields that stands for a leaf, or nothing."""
    table = treatments.KEPT.get(operation, {})
    while label and label not in table:
        label = label[:-2] if label.endswith(("[]", "{}")) else label.rpartition(".")[0]
    return label


def test_no_leaf_of_an_executed_operation_is_silent(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd = Crowd(tmp_path, monkeypatch)
    silent = []
    used: set[tuple[str, str]] = set()
    for operation in OPERATIONS:
        walk = Walk(crowd, operation)
        for path in request_leaves.list_paths(walk.shape):
            label = request_leaves.format_path(path)
            verdict = walk.judge(path)
            listed = find_listed(operation, label)
            if verdict not in ("read", "refused"):
                used.add((operation, listed))
                if not listed:
                    silent.append(f"{operation}.{label} is {verdict}")
    listed_paths = {(name, path) for name in OPERATIONS for path in treatments.KEPT.get(name, ())}
    assert silent == []
    assert listed_paths - used == set()
