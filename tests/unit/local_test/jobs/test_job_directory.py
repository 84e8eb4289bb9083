"""What a job finds below /opt/ml and in its environment."""

from __future__ import annotations

from local_test.jobs import job_directory
from tests.unit.local_test.made import make_training_request


def test_resources_name_every_group_and_host() -> None:
    request = make_training_request()
    request["ResourceConfig"] = {
        "InstanceGroups": [
            {"InstanceGroupName": "a", "InstanceType": "ml.m5.large", "InstanceCount": 1},
            {"InstanceGroupName": "b", "InstanceType": "ml.c5.xlarge", "InstanceCount": 2},
        ],
        "VolumeSizeInGB": 1,
    }

    document = job_directory.training_documents(request, "algo-3")["resourceconfig.json"]

    assert document["current_group_name"] == "b"  # DS-7
    assert document["current_instance_type"] == "ml.c5.xlarge"
    assert document["hosts"] == ["algo-1", "algo-2", "algo-3"]
    assert [group["hosts"] for group in document["instance_groups"]] == [
        ["algo-1"],
        ["algo-2", "algo-3"],
    ]


def test_the_environment_is_the_platforms() -> None:
    environment = job_directory.training_environment(
        make_training_request(Environment={"A": "1", "TRAINING_JOB_NAME": "mine"})
    )

    assert environment["A"] == "1"
    assert environment["TRAINING_JOB_NAME"] == "job"  # TF-4
    assert not [name for name in environment if name.startswith("SM_")]
    isolated = job_directory.training_environment(
        make_training_request(EnableNetworkIsolation=True)
    )
    assert "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI" not in isolated  # SEC-1
