"""Jobs that are deleted or updated, and algorithms that name a job's image; nothing runs."""

from __future__ import annotations

from typing import Any

import pytest

from local_test.aws.account.account import Account
from local_test.aws.account.kinds import ALGORITHM, PROCESSING_JOB, TRAINING_JOB, TUNING_JOB
from local_test.aws.protocol.messages import AwsError
from local_test.aws.sagemaker import job_operations, live_jobs
from local_test.aws.sagemaker.metadata import resources
from local_test.aws.sagemaker.tuning import tuning_operations
from local_test.data import storage
from local_test.requests.validation import ValidRequest


def make_job(account: Account, status: str, **members: Any) -> None:
    record = {
        "TrainingJobName": "j",
        "TrainingJobArn": account.arn("training-job", "j"),
        "TrainingJobStatus": status,
        "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large"},
        **members,
    }
    account.store.insert(TRAINING_JOB, "j", record)


def delete(account: Account) -> None:
    job_operations.delete_job(account, live_jobs.TRAINING, {"TrainingJobName": "j"})


def refuse(account: Account) -> str:
    with pytest.raises(AwsError) as caught:
        delete(account)
    assert account.store.find(TRAINING_JOB, "j") is not None or caught.value.code != "ResourceInUse"
    return caught.value.code


@pytest.mark.parametrize("status", ["Completed", "Failed", "Stopped"])
def test_a_job_that_ended_can_be_deleted_with_what_is_kept_of_it(
    account: Account, status: str
) -> None:
    make_job(account, status)
    directory = account.directory / "jobs/training/j"
    directory.mkdir(parents=True)
    delete(account)
    assert account.store.find(TRAINING_JOB, "j") is None
    assert not directory.exists()
    assert refuse(account) == "ResourceNotFound"


@pytest.mark.parametrize("status", ["InProgress", "Stopping"])
def test_a_job_that_runs_is_not_deleted(account: Account, status: str) -> None:
    make_job(account, status)
    assert refuse(account) == "ResourceInUse"


@pytest.mark.parametrize(("status", "can_delete"), [("InProgress", False), ("Completed", True)])
def test_a_job_of_a_tuning_job_is_kept_while_that_runs(
    account: Account, status: str, *, can_delete: bool
) -> None:
    make_job(account, "Completed", _tuning="t")
    tuning = {"HyperParameterTuningJobName": "t", "HyperParameterTuningJobStatus": status}
    account.store.insert(TUNING_JOB, "t", tuning)
    if can_delete:
        delete(account)
        tuning_operations.delete_tuning_job(account, {"HyperParameterTuningJobName": "t"})
        assert account.store.find(TUNING_JOB, "t") is None
    else:
        assert refuse(account) == "ResourceInUse"
        with pytest.raises(AwsError, match="in status InProgress"):
            tuning_operations.delete_tuning_job(account, {"HyperParameterTuningJobName": "t"})


def test_a_processing_job_can_be_deleted(account: Account) -> None:
    record = {"ProcessingJobName": "p", "ProcessingJobArn": "arn", "ProcessingJobStatus": "Failed"}
    account.store.insert(PROCESSING_JOB, "p", record)
    job_operations.delete_job(account, live_jobs.PROCESSING, {"ProcessingJobName": "p"})
    assert account.store.find(PROCESSING_JOB, "p") is None


def test_an_update_is_shown_and_keeps_the_rest(account: Account) -> None:
    make_job(account, "InProgress")
    changes = {"ResourceConfig": {"KeepAlivePeriodInSeconds": 60}}
    job_operations.update_training_job(account, {"TrainingJobName": "j", **changes})
    record = account.store.find(TRAINING_JOB, "j")
    assert record is not None
    expected = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "KeepAlivePeriodInSeconds": 60}
    assert dict(record)["ResourceConfig"] == expected


@pytest.mark.parametrize("name", ["A", "arn:aws:sagemaker:us-east-1:000000000000:algorithm/a"])
def test_a_job_of_an_algorithm_runs_its_image(
    account: Account, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    algorithm = resources.Resource(ALGORITHM, "Algorithms")
    specification = {"TrainingImage": "i", "SupportedTrainingInstanceTypes": ["ml.m5.large"]}
    resources.create(
        account, algorithm, {"AlgorithmName": "A", "TrainingSpecification": specification}
    )
    started: list[ValidRequest] = []
    monkeypatch.setattr(storage, "list_objects", lambda uri: [uri])
    monkeypatch.setattr(live_jobs, "start", lambda *arguments: started.append(arguments[2]))
    specification = {"AlgorithmName": name, "TrainingInputMode": "File"}
    job_operations.create_training_job(account, make_request("j", specification))
    chosen = started[0].fields["AlgorithmSpecification"]
    assert chosen == {"TrainingImage": "i", "TrainingInputMode": "File"}


def make_request(name: str, specification: dict[str, str], count: int = 1) -> dict[str, Any]:
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": specification,
        "RoleArn": "arn:aws:iam::000000000000:role/r",
        "OutputDataConfig": {"S3OutputPath": "s3://b/o"},
        "ResourceConfig": {
            "InstanceCount": count,
            "InstanceType": "ml.m5.large",
            "VolumeSizeInGB": 1,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    }


def test_a_name_that_has_the_arn_of_another_is_taken(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    monkeypatch.setattr(live_jobs, "start", lambda *_: started.append("a job"))
    specification = {"TrainingImage": "i", "TrainingInputMode": "File"}
    job_operations.create_training_job(account, make_request("Name", specification))
    for name in ("Name", "nAME"):
        with pytest.raises(AwsError, match="already exists") as caught:
            job_operations.create_training_job(account, make_request(name, specification))
        assert caught.value.code == "ResourceInUse"
    assert started == ["a job"]


def test_the_quota_counts_the_instances_of_every_job(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_jobs, "start", lambda *_: None)
    cluster = {"InstanceCount": 11, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
    processing = {
        "ProcessingJobName": "p",
        "ProcessingResources": {"ClusterConfig": cluster},
        "AppSpecification": {"ImageUri": "i"},
        "RoleArn": "arn:aws:iam::000000000000:role/r",
    }
    job_operations.create_processing_job(account, processing)
    specification = {"TrainingImage": "i", "TrainingInputMode": "File"}
    job_operations.create_training_job(account, make_request("a", specification, 8))
    with pytest.raises(AwsError, match="utilization of 19 Instances and a request delta of 2"):
        job_operations.create_training_job(account, make_request("b", specification, 2))
