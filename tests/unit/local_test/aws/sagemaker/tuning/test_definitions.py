"""The checks of a tuning job's request, and the requests that it makes; no process, no network."""

from __future__ import annotations

from typing import Any

import pytest

from local_test.aws.sagemaker.tuning.definitions import check_configuration, read_definitions

RANGES = {"ContinuousParameterRanges": [{"Name": "rate", "MinValue": "0", "MaxValue": "1"}]}
GRID = {"CategoricalParameterRanges": [{"Name": "rate", "Values": ["1", "2"]}]}


def make_request(
    definition: dict[str, Any] | None = None, members: dict[str, Any] | None = None, **config: Any
) -> dict[str, Any]:
    own = {
        "AlgorithmSpecification": {"MetricDefinitions": [{"Name": "loss", "Regex": "(.*)"}]},
        **(definition or {}),
    }
    return {
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
            "ParameterRanges": RANGES,
            "ResourceLimits": {"MaxParallelTrainingJobs": 1, "MaxNumberOfTrainingJobs": 2},
            **config,
        },
        "TrainingJobDefinition": own,
        **(members or {}),
    }


def find_faults(request: dict[str, Any]) -> list[str]:
    faults: list[str] = []
    check_configuration(request, read_definitions(request, faults), faults)
    return faults


def test_a_sound_request_has_no_faults() -> None:
    assert find_faults(make_request()) == []
    assert find_faults(make_request(Strategy="Grid", ParameterRanges=GRID)) == []


MANY = [{"Name": str(number), "Values": ["1"]} for number in range(31)]
LIMITS = {"MaxParallelTrainingJobs": 3, "MaxNumberOfTrainingJobs": 2}
CONVERGED = {"ConvergenceDetected": {"CompleteOnConvergence": "Enabled"}}
BAND = {"HyperbandStrategyConfig": {"MinResource": 9, "MaxResource": 9}}


@pytest.mark.parametrize(
    ("request_", "fault"),
    [
        (make_request(members={"TrainingJobDefinitions": []}), "One of TrainingJobDefinition and"),
        (make_request(HyperParameterTuningJobObjective=None), "Objective is required"),
        (make_request(ParameterRanges={}), "ParameterRanges is required"),
        (
            make_request(TuningJobCompletionCriteria=CONVERGED),
            "ConvergenceDetected is not emulated",
        ),
        (
            make_request(
                {"HyperParameterTuningResourceConfig": {"AllocationStrategy": "Prioritized"}}
            ),
            "AllocationStrategy is not emulated; use InstanceType",
        ),
        (make_request(ParameterRanges={"AutoParameters": [{}]}), "AutoParameters are not emulated"),
        (
            make_request({"AlgorithmSpecification": {}}),
            "The objective metric 'loss' is not among the metric definitions: none",
        ),
        (make_request({"StaticHyperParameters": {"rate": "1"}}), "both static and tuned: rate"),
        (
            make_request(ParameterRanges={"CategoricalParameterRanges": MANY}),
            "31 hyperparameters are tuned; at most 30",
        ),
        (
            make_request({"StaticHyperParameters": {f"s{number}": "1" for number in range(99)}}),
            "101 hyperparameters including the name of the objective metric; at most 100",
        ),
        (make_request(Strategy="Grid"), "Grid search takes categorical ranges only"),
        (
            make_request(members={"WarmStartConfig": {}}, Strategy="Grid", ParameterRanges=GRID),
            "cannot be warm started",
        ),
        (
            make_request(ResourceLimits={"MaxParallelTrainingJobs": 1}),
            "MaxNumberOfTrainingJobs is required",
        ),
        (make_request(ResourceLimits=LIMITS), "MaxParallelTrainingJobs 3 exceeds"),
        (make_request(StrategyConfig=BAND), "MinResource 9 must be less than MaxResource 9"),
        (make_request(members={"Autotune": {"Mode": "Enabled"}}), "Autotune is not emulated"),
    ],
)
def test_a_fault_is_named(request_: dict[str, Any], fault: str) -> None:
    [found] = find_faults(request_)
    assert fault in found


def test_a_definitions_request_trains_with_its_own_objective_and_resources() -> None:
    own = {
        "DefinitionName": "first",
        "TuningObjective": {"Type": "Maximize", "MetricName": "loss"},
        "HyperParameterRanges": GRID,
        "HyperParameterTuningResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
        "StaticHyperParameters": {"epochs": "3"},
    }
    [definition] = read_definitions(make_request(own))
    assert (definition.name, definition.sign) == ("first", 1)
    assert definition.make_request("job", {"rate": "2"}) == {
        "AlgorithmSpecification": {"MetricDefinitions": [{"Name": "loss", "Regex": "(.*)"}]},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
        "TrainingJobName": "job",
        "HyperParameters": {"epochs": "3", "rate": "2", "_tuning_objective_metric": "loss"},
    }


@pytest.mark.parametrize(
    ("status", "value"), [("Completed", 0.1), ("Stopped", 0.1), ("Failed", None)]
)
def test_only_a_job_that_ended_well_has_an_objective(status: str, value: float | None) -> None:
    [definition] = read_definitions(make_request())
    metrics = [{"MetricName": "loss", "Value": 0.1, "Timestamp": 0.0}]
    job: Any = {"TrainingJobStatus": status, "FinalMetricDataList": metrics}
    assert definition.final_value(job) == value
