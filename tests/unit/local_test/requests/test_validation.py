"""A request is validated: its shapes, what is refused here, the rules between its fields."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from container.errors import UserError
from local_test.requests import shorthand, validation
from local_test.requests.validation import validate
from tests.unit.local_test.made import make_training_request


def find_faults(request: Any) -> str:
    try:
        validate("CreateTrainingJob", request)
    except UserError as error:
        return str(error)
    return ""


def test_a_good_request_has_no_faults() -> None:
    valid = validate("CreateTrainingJob", make_training_request())

    assert valid.operation == "CreateTrainingJob"
    assert valid.fields == make_training_request()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            {"HyperParameters": {"epochs": 3}},
            "HyperParameters['epochs']: expected a string, found 3",
        ),  # HP-1
        ({"HyperParameters": {"a": "x" * 2501}}, "expected at most 2500 characters, found 2501"),
        (
            {"HyperParameters": {f"{n}": "" for n in range(101)}},
            "expected at most 100 entries, found 101",
        ),
        ({"Environment": {"9a": "x"}}, "does not match"),  # TF-5
        ({"TrainingJobName": "under_score"}, "'under_score' does not match"),
        ({"EnableManagedSpotTraining": "yes"}, "expected true or false"),
        ({"StoppingCondition": {"MaxRuntimeInSeconds": True}}, "expected an integer, found True"),
        ({"StoppingCondition": {"MaxRuntimeInSeconds": 0}}, "expected at least 1, found 0"),
        ({"InputDataConfig": {}}, "InputDataConfig: expected a list"),
        ({"Hyperparameters": {}}, "no such field; did you mean HyperParameters?"),
        ({"OutputDataConfig": {"S3OutputPath": "ftp://x"}}, "'ftp://x' does not match"),
    ],
)
def test_a_fault_says_where_it_is_what_was_found_and_what_is_expected(
    change: dict[str, Any], fault: str
) -> None:
    assert fault in find_faults(make_training_request(**change))


def test_all_faults_are_reported_at_once() -> None:
    request = make_training_request(Nonsense=1, TrainingJobName="_")
    del request["RoleArn"]

    assert "3 faults" in find_faults(request)


@pytest.mark.parametrize("pattern", ["x=(", "a{99999999999}"])
def test_what_is_not_a_regular_expression_is_refused(pattern: str) -> None:
    request = make_training_request()
    request["AlgorithmSpecification"]["MetricDefinitions"] = [{"Name": "x", "Regex": pattern}]
    fault = f"MetricDefinitions: Regex of 'x': {pattern!r} is not a regular expression: "
    assert fault in find_faults(request)


def test_an_enumeration_names_near_values() -> None:
    request = make_training_request()
    request["ResourceConfig"]["InstanceType"] = "ml.m5.largee"

    assert "ml.m5.large" in find_faults(request).split("did you mean", 1)[1]


def test_files_stand_where_the_api_wants_s3() -> None:
    assert (
        find_faults(make_training_request(OutputDataConfig={"S3OutputPath": "file:///tmp/out"}))
        == ""
    )
    assert (
        find_faults(make_training_request(OutputDataConfig={"S3OutputPath": "file://relative"}))
        != ""
    )


def test_a_refused_field_is_named_with_the_reason() -> None:
    request = make_training_request()
    request["AlgorithmSpecification"] = {
        "TrainingInputMode": "File",
        "AlgorithmName": "a",
        "TrainingImage": "b",
    }

    with pytest.raises(UserError, match=r"AlgorithmName: refused here: .*Marketplace algorithms"):
        validate("CreateTrainingJob", request)


def test_a_field_without_effect_is_named() -> None:
    valid = validate("CreateTrainingJob", make_training_request(Tags=[{"Key": "a", "Value": "b"}]))

    assert "Tags has no effect here: tags and billing belong to an AWS account" in valid.notes


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"CompressionType": "Gzip"}, "Gzip needs InputMode Pipe"),  # IN-5
        ({"RecordWrapperType": "RecordIO"}, "RecordIO needs InputMode Pipe"),
    ],
)
def test_a_channel_that_does_not_fit_its_mode_is_refused(
    change: dict[str, str], fault: str
) -> None:
    request = make_training_request()
    request["InputDataConfig"][0] |= change

    with pytest.raises(UserError, match=fault):
        validate("CreateTrainingJob", request)


@pytest.mark.parametrize(
    "resources",
    [
        {"InstanceType": "ml.m5.large", "InstanceCount": 0, "VolumeSizeInGB": 1},
        {
            "VolumeSizeInGB": 1,
            "InstanceGroups": [
                {"InstanceGroupName": "a", "InstanceType": "ml.m5.large", "InstanceCount": 0}
            ],
        },
    ],
)
def test_a_job_needs_an_instance(resources: dict[str, Any]) -> None:
    found = find_faults(make_training_request(ResourceConfig=resources))
    assert "InstanceCount must be at least 1, found 0" in found


def test_spot_needs_a_waiting_time() -> None:
    with pytest.raises(UserError, match="at least MaxRuntimeInSeconds, 86400"):  # SP-1
        validate("CreateTrainingJob", make_training_request(EnableManagedSpotTraining=True))


def test_a_spot_request_that_waits_long_enough_is_taken() -> None:
    stopping = {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60}

    assert (
        find_faults(
            make_training_request(EnableManagedSpotTraining=True, StoppingCondition=stopping)
        )
        == ""
    )


def test_a_waiting_time_without_spot_is_refused() -> None:
    stopping = {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60}
    assert "only spot training waits" in find_faults(
        make_training_request(StoppingCondition=stopping)
    )


@pytest.mark.parametrize(
    ("group", "change", "fault"),
    [
        ("ProcessingInputs", {"S3CompressionType": "Gzip"}, "Gzip needs S3InputMode Pipe"),
    ],
)
def test_a_value_that_a_processing_job_cannot_have_here_is_refused(
    group: str, change: dict[str, str], fault: str
) -> None:
    request = shorthand.processing_request(
        name="job", image="any", inputs={"a": "file:///a"}, outputs={"b": "file:///b"}
    )
    if group == "Outputs":
        request["ProcessingOutputConfig"]["Outputs"][0]["S3Output"] |= change
    else:
        request["ProcessingInputs"][0]["S3Input"] |= change

    with pytest.raises(UserError, match=fault):
        validate("CreateProcessingJob", request)


def test_only_this_module_makes_a_valid_request() -> None:
    sources = Path(validation.__file__).parents[1].rglob("*.py")
    makers = [path.name for path in sources if " ValidRequest(" in path.read_text("utf-8")]

    assert makers == ["validation.py"]


@pytest.mark.parametrize(
    "path",
    ["/etc", "/opt/ml", "/opt/ml/", "/opt/ml/../../etc", "/opt/ml/a/../../..", "a", "/opt/ml/\0"],
)
def test_a_local_path_leads_nowhere_but_below_its_base(path: str) -> None:
    request = shorthand.training_request(name="x", image="x", channels={}, output="/o")
    config = {"S3Uri": "file:///store", "LocalPath": path}
    with pytest.raises(UserError, match="CheckpointConfig: LocalPath must be below /opt/ml/"):
        validate("CreateTrainingJob", {**request, "CheckpointConfig": config})

    job = shorthand.processing_request(name="x", image="x", inputs={"i": "/i"}, outputs={})
    below = path.replace("/opt/ml", "/opt/ml/processing")
    job["ProcessingInputs"][0]["S3Input"]["LocalPath"] = below
    with pytest.raises(UserError, match="LocalPath must be below /opt/ml/processing/"):
        validate("CreateProcessingJob", job)


def test_a_channel_is_not_named_after_a_directory_above() -> None:
    request = shorthand.training_request(name="x", image="x", channels={"..": "/d"}, output="/o")
    with pytest.raises(UserError, match="cannot name a directory"):
        validate("CreateTrainingJob", request)
