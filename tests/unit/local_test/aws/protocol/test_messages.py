"""The protocol layer of the local AWS answers any input with AWS's own errors, by botocore."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import botocore.parsers
import pytest
from botocore.validate import ParamValidator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local_test.aws.process import operations
from local_test.aws.protocol import messages
from local_test.aws.protocol.messages import AwsError
from local_test.requests import shapes

IMPLEMENTED = sorted(
    name for name in operations.OPERATIONS if name in shapes.service_model().operation_names
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
SAMPLES = {
    "string": "a1",
    "integer": 1,
    "long": 1,
    "float": 1.0,
    "double": 1.0,
    "boolean": True,
    "timestamp": 0,
}
NAMED = {
    "RoleArn": "arn:aws:iam::000000000000:role/r",
    "S3Uri": "s3://bucket/key",
    "ResourceArn": "arn:aws:sagemaker:us-east-1:000000000000:training-job/a",
    **dict.fromkeys(
        ("SourceArn", "DestinationArn", "ArtifactArn"),
        "arn:aws:sagemaker:us-east-1:000000000000:artifact/a",
    ),
    "PipelineExecutionArn": "arn:aws:sagemaker:us-east-1:000000000000:pipeline/a/execution/b",
    "ModelPackageArnList": "arn:aws:sagemaker:us-east-1:000000000000:model-package/a/1",
    "ModelPackageArn": "arn:aws:sagemaker:us-east-1:000000000000:model-package/a/1",
}


def make_sample(shape: Any, name: str = "") -> Any:
    """Return a small value that the model accepts, with only the required members."""
    least = shape.metadata.get("min", 0)
    if shape.type_name == "structure":
        return {
            member: make_sample(shape.members[member], member) for member in shape.required_members
        }
    if shape.type_name == "list":
        return [make_sample(shape.member, name)] * max(1, least)
    if shape.type_name == "string":
        plain = "s3://bucket/key" if name.startswith("S3") else "a1".ljust(least, "a")
        return NAMED.get(name, plain) if not shape.enum else shape.enum[0]
    return {} if shape.type_name == "map" else max(SAMPLES[shape.type_name], least)


def drop_nulls(value: Any) -> Any:
    """Leave out members without a value, which mean nothing in JSON 1.1."""
    if isinstance(value, dict):
        return {key: drop_nulls(item) for key, item in value.items() if item is not None}
    return [drop_nulls(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("operation", IMPLEMENTED)
def test_a_minimal_request_of_every_operation_is_taken(operation: str) -> None:
    shape = shapes.input_shape(operation)
    sample = make_sample(shape)
    assert not ParamValidator().validate(sample, shape).has_errors()
    assert messages.parse("sagemaker", operation, json.dumps(sample).encode()) == sample


@pytest.mark.parametrize("operation", IMPLEMENTED)
def test_a_missing_required_member_is_named(operation: str) -> None:
    shape = shapes.input_shape(operation)
    for name in shape.required_members:
        sample = make_sample(shape)
        del sample[name]
        with pytest.raises(
            AwsError, match=f"at '{name[0].lower()}{name[1:]}'.*must not be null"
        ) as caught:
            messages.parse("sagemaker", operation, json.dumps(sample).encode())
        assert caught.value.code == "ValidationException"


@given(st.sampled_from(IMPLEMENTED), st.binary(max_size=40))
def test_any_bytes_are_taken_or_refused(operation: str, body: bytes) -> None:
    with contextlib.suppress(AwsError):  # and nothing else
        messages.parse("sagemaker", operation, body)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_json_in_place_of_a_member_is_taken_or_refused_in_the_services_words(
    data: st.DataObject,
) -> None:
    operation = data.draw(st.sampled_from(IMPLEMENTED))
    shape = shapes.input_shape(operation)
    name = data.draw(st.sampled_from(sorted(shape.members)))
    sample = {**make_sample(shape), name: data.draw(JSON)}
    try:
        messages.parse("sagemaker", operation, json.dumps(sample).encode())
    except AwsError as error:
        reply = messages.refuse(error)
    else:
        # botocore checks less than the service: what we take, it takes.
        assert not ParamValidator().validate(drop_nulls(sample), shape).has_errors()
        return
    parsed = botocore.parsers.create_parser("json").parse(
        {"body": reply.body, "headers": reply.headers, "status_code": reply.status}, shape
    )
    assert parsed["Error"]["Code"] in ("SerializationException", "ValidationException")
    assert parsed["Error"]["Message"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("-x", "Member must satisfy regular expression pattern"),
        ("a" * 64, "Member must have length less than or equal to 63"),
        ("", "Member must have length greater than or equal to 1"),
    ],
)
def test_a_name_breaks_its_constraint_in_the_services_words(value: str, message: str) -> None:
    with pytest.raises(AwsError, match=message):
        messages.parse(
            "sagemaker", "DescribeTrainingJob", json.dumps({"TrainingJobName": value}).encode()
        )


def test_a_member_that_the_api_does_not_have_is_not_dropped_in_silence() -> None:
    with pytest.raises(AwsError, match=r"'trainingJobNam'.*unknown"):
        messages.parse("sagemaker", "ListTrainingJobs", b'{"TrainingJobNam": 1}')


def test_an_answer_with_a_member_that_the_shape_lacks_is_a_bug() -> None:
    with pytest.raises(ValueError, match="has no member"):
        messages.answer("sagemaker", "ListModels", {"Modells": []})


@pytest.mark.parametrize("depth", [51, 300, 900, 5000, 100_000])
@pytest.mark.parametrize("text", ['{"a":%s}', '{"a":{"b":[%s]}}'])
def test_a_document_that_is_nested_too_deeply_is_refused(text: str, depth: int) -> None:
    for opened, closed in (("[", "]"), ('{"a":', "}")):
        body = (text % (opened * depth + "1" + closed * depth)).encode()
        with pytest.raises(AwsError) as caught:
            messages.load(body)
        assert caught.value.code == "SerializationException"
    assert messages.load(b'{"a":' + b"[" * 40 + b"]" * 40 + b"}")


@pytest.mark.parametrize("half", [rb"\ud800", rb"\uDC00", b"\xed\xa0\x80"])
def test_a_text_with_half_a_character_is_refused(half: bytes) -> None:
    with pytest.raises(AwsError) as caught:
        messages.load(b'{"a": {"' + half + b'": 1}}')
    assert caught.value.code == "SerializationException"
    assert messages.load(rb'{"a": "\ud83d\ude00"}') == {"a": "\N{GRINNING FACE}"}


def test_a_body_larger_than_any_api_needs_is_refused_unread() -> None:
    with pytest.raises(AwsError, match="at most 134217728") as caught:
        messages.read_body({"CONTENT_LENGTH": str(5 * 1024**3)})
    assert caught.value.status == 413
