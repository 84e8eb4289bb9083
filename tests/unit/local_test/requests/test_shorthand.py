"""Requests made from a few values fit the service's shapes."""

from __future__ import annotations

from pathlib import Path

from local_test.requests import shorthand
from local_test.requests.validation import validate


def test_a_training_request_has_what_is_asked_for() -> None:
    request = shorthand.training_request(
        name="t",
        image="i",
        channels={"training": "s3://bucket/data/"},
        output="s3://bucket/out",
        checkpoints="s3://bucket/kept",
        content_type="text/csv",
        instance_count=2,
        max_runtime_s=60,
        is_isolated=True,
        is_spot=True,
    )

    validate("CreateTrainingJob", request)
    [channel] = request["InputDataConfig"]
    assert channel["ContentType"] == "text/csv"
    assert request["ResourceConfig"]["InstanceCount"] == 2
    assert request["StoppingCondition"] == {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 120}
    assert request["CheckpointConfig"]["S3Uri"] == "s3://bucket/kept"
    assert request["EnableNetworkIsolation"]
    assert "HyperParameters" not in request


def test_a_processing_request_places_inputs_and_outputs_by_their_names() -> None:
    request = shorthand.processing_request(
        name="p",
        image="i",
        inputs={"test": "s3://bucket/data"},
        outputs={"evaluation": "s3://bucket/out"},
        arguments=["evaluate"],
    )

    validate("CreateProcessingJob", request)
    [item] = request["ProcessingInputs"]
    assert item["S3Input"]["LocalPath"] == "/opt/ml/processing/test"
    assert request["AppSpecification"] == {"ImageUri": "i", "ContainerArguments": ["evaluate"]}


def test_a_transform_request_leaves_to_the_container_what_is_not_asked_for() -> None:
    plain = shorthand.transform_request(
        name="t", model_name="m", data="s3://bucket/x", output="s3://bucket/o"
    )
    full = shorthand.transform_request(
        name="t",
        model_name="m",
        data="s3://bucket/x",
        output="s3://bucket/o",
        payload_megabytes=0,
        input_filter="$[1:]",
        is_joined=True,
    )

    validate("CreateTransformJob", plain)
    validate("CreateTransformJob", full)
    assert not {"MaxPayloadInMB", "BatchStrategy", "DataProcessing"} & plain.keys()  # BT-3
    assert full["MaxPayloadInMB"] == 0
    assert full["DataProcessing"] == {"InputFilter": "$[1:]", "JoinSource": "Input"}


def test_an_endpoints_model_is_an_archive_a_directory_or_none(tmp_path: Path) -> None:
    def container(model: str | None) -> dict[str, object]:
        requests = shorthand.endpoint_requests(name="e", image="i", model=model)
        requests.validate()
        return dict(requests.models["e"]["PrimaryContainer"])

    assert container("s3://bucket/model.tar.gz")["ModelDataUrl"] == "s3://bucket/model.tar.gz"
    assert "ModelDataSource" in container(str(tmp_path))
    assert container(None) == {"Image": "i"}
