"""What a tuning job's answers say of its training jobs; no training job runs."""

from __future__ import annotations

from typing import Any

import pytest

from container.errors import UserError
from local_test.aws.account.account import Account
from local_test.aws.account.kinds import TRAINING_JOB, TUNING_JOB
from local_test.aws.protocol.messages import AwsError
from local_test.aws.sagemaker.tuning import tuner, tuning_operations

NAME = {"HyperParameterTuningJobName": "t"}
DEFINITION: dict[str, Any] = {
    "AlgorithmSpecification": {
        "TrainingImage": "i",
        "TrainingInputMode": "File",
        "MetricDefinitions": [{"Name": "loss", "Regex": "(.*)"}],
    },
    "RoleArn": "arn:aws:iam::000000000000:role/r",
    "OutputDataConfig": {"S3OutputPath": "s3://b/o"},
    "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1},
    "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    "EnableInterContainerTrafficEncryption": True,
}


def make_request(name: str, **members: Any) -> dict[str, Any]:
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
            "ResourceLimits": {"MaxParallelTrainingJobs": 1, "MaxNumberOfTrainingJobs": 9},
            "ParameterRanges": {
                "CategoricalParameterRanges": [{"Name": "rate", "Values": ["1", "2"]}]
            },
        },
        "TrainingJobDefinition": DEFINITION,
        **members,
    }


@pytest.fixture(autouse=True)
def tuning_job(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuner, "start", lambda *_: None)
    tuning_operations.create_tuning_job(account, make_request("t"))


def put(account: Account, name: str, status: str, loss: float | None = None, **more: Any) -> None:
    metrics = [] if loss is None else [{"MetricName": "loss", "Value": loss, "Timestamp": 0.0}]
    record = {
        "TrainingJobName": name,
        "TrainingJobArn": account.arn("training-job", name),
        "TrainingJobStatus": status,
        "CreationTime": 1.0,
        "FinalMetricDataList": metrics,
        "TrainingTimeInSeconds": 2,
        "_tuning": "t",
        "_tuned": {"rate": "1"},
        "_definition": 0,
        **more,
    }
    account.store.insert(TRAINING_JOB, name, record)


def list_names(account: Account, **request: Any) -> list[str]:
    answer = tuning_operations.list_training_jobs(account, {**NAME, **request})
    return [job["TrainingJobName"] for job in answer["TrainingJobSummaries"]]


def test_describe_counts_its_training_jobs_and_finds_the_best(account: Account) -> None:
    put(account, "worse", "Completed", 0.9)
    put(account, "best", "Stopped", 0.1)
    put(account, "silent", "Completed")
    put(account, "lost", "Failed", FailureReason="InternalServerError: lost")
    put(account, "wrong", "Failed", 0.01, FailureReason="AlgorithmError: wrong")
    put(account, "running", "Stopping")
    put(account, "of-another", "Completed", 0.0, _tuning="other")
    described = tuning_operations.describe_tuning_job(account, NAME)
    assert described["TrainingJobStatusCounters"] == {
        "Completed": 2,
        "InProgress": 1,
        "RetryableError": 1,
        "NonRetryableError": 1,
        "Stopped": 1,
    }
    objectives = {"Succeeded": 2, "Pending": 1, "Failed": 3}
    assert described["ObjectiveStatusCounters"] == objectives
    assert described["BestTrainingJob"]["TrainingJobName"] == "best"
    assert described["BestTrainingJob"]["TunedHyperParameters"] == {"rate": "1"}
    assert described["ConsumedResources"] == {"RuntimeInSeconds": 12}
    assert "OverallBestTrainingJob" not in described


def test_training_jobs_are_filtered_and_sorted_by_their_objective(account: Account) -> None:
    put(account, "a", "Completed", 0.9)
    put(account, "b", "Completed", 0.1)
    put(account, "c", "InProgress")
    assert list_names(account) == ["a", "b", "c"]
    assert list_names(account, StatusEquals="InProgress") == ["c"]
    assert list_names(account, SortBy="FinalObjectiveMetricValue") == ["b", "a"]


def test_a_warm_start_knows_the_best_of_its_parents(account: Account) -> None:
    put(account, "parent", "Completed", 0.1)
    parents = {
        "ParentHyperParameterTuningJobs": [NAME],
        "WarmStartType": "IdenticalDataAndAlgorithm",
    }
    request = make_request("child", WarmStartConfig=parents)
    with pytest.raises(AwsError, match="'t' has not ended"):
        tuning_operations.create_tuning_job(account, request)
    account.store.update(TUNING_JOB, "t", HyperParameterTuningJobStatus="Completed")
    tuning_operations.create_tuning_job(account, request)
    put(account, "own", "Completed", 0.5, _tuning="child")
    child = {"HyperParameterTuningJobName": "child"}
    described = tuning_operations.describe_tuning_job(account, child)
    assert described["BestTrainingJob"]["TrainingJobName"] == "own"
    assert described["OverallBestTrainingJob"]["TrainingJobName"] == "parent"


def test_a_stop_is_written_down_once_it_is_possible(account: Account) -> None:
    tuning_operations.stop_tuning_job(account, NAME)
    status = tuning_operations.describe_tuning_job(account, NAME)["HyperParameterTuningJobStatus"]
    assert status == "Stopping"
    account.store.update(TUNING_JOB, "t", HyperParameterTuningJobStatus="Stopped")
    with pytest.raises(AwsError, match="is in status Stopped"):
        tuning_operations.stop_tuning_job(account, NAME)


def test_names_are_taken_once_and_looked_up(account: Account) -> None:
    with pytest.raises(AwsError, match="already exists") as caught:
        tuning_operations.create_tuning_job(account, make_request("t"))
    assert caught.value.code == "ResourceInUse"
    with pytest.raises(AwsError, match="can't find a tuning job") as caught:
        tuning_operations.describe_tuning_job(account, {"HyperParameterTuningJobName": "x"})
    assert caught.value.code == "ResourceNotFound"


def test_what_no_training_job_may_have_is_refused_at_once(account: Account) -> None:
    record = account.store.find(TUNING_JOB, "t")
    assert record is not None
    notes = " ".join(record["_without_effect"])
    assert "EnableInterContainerTrafficEncryption has no effect here" in notes
    definition = {**DEFINITION, "StoppingCondition": {"MaxWaitTimeInSeconds": 60}}
    with pytest.raises(UserError, match="only spot training waits"):
        tuning_operations.create_tuning_job(
            account, make_request("x", TrainingJobDefinition=definition)
        )
    assert account.store.find(TUNING_JOB, "x") is None
