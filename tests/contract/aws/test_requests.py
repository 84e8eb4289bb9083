"""Valid and invalid requests, generated from the service models, get an answer of the model."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import botocore.parsers
import pytest
from botocore.awsrequest import HeadersDict
from botocore.validate import ParamValidator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local_test.aws.process import operations
from local_test.requests import shapes
from tests.contract.aws.client import LocalAws, training_request, wait_for_status
from tests.contract.aws.test_endpoints import make_config, make_model, wait_until_settled

ARN = "arn:aws:sagemaker:us-east-1:000000000000"
TARGETS = {"sagemaker": "SageMaker", "application-autoscaling": "AnyScaleFrontendService"}
OPERATIONS = sorted(
    (service, name)
    for service in TARGETS
    for name in operations.OPERATIONS
    if name in shapes.service_model(service).operation_names
)
# What every operation may answer beside the errors that its model lists.
ALWAYS = {"ValidationException", "SerializationException"}
# Members whose words mean something to each other: what there is, what there is not, and what is no
# such thing.
WORDS = [
    *(
        "known",
        "nowhere",
        "a",
        "us-east-1",
        "AllTraffic",
        "s3://sagemaker-us-east-1-000000000000/data/",
    ),
    *(
        "s3://no-such-bucket/key",
        "arn:aws:iam::000000000000:role/test",
        f"{ARN}:model-package/known/1",
    ),
    *(
        f"{ARN}:training-job/known",
        f"{ARN}:endpoint/nowhere",
        "ml.m5.large",
        "text/csv",
        "/opt/ml/processing/in",
    ),
    *(
        "endpoint/known/variant/AllTraffic",
        "sagemaker:variant:DesiredInstanceCount",
        "0.5",
        "1",
        ".*=([0-9.]+)",
    ),
]
RUBBISH = st.sampled_from(
    [None, True, -1, 2**40, 0.5, "", "ü" * 3000, "-", [], ["x"], {}, {"x": 1}, [[]], [None]]
)


def make_value(shape: Any, depth: int = 0) -> st.SearchStrategy[Any]:  # noqa: PLR0911 - one for each type
    """Return values that a shape accepts; deep down, required members only."""
    kind, low, high = shape.type_name, shape.metadata.get("min"), shape.metadata.get("max")
    if kind == "structure":
        required = {
            name: make_value(shape.members[name], depth + 1) for name in shape.required_members
        }
        if getattr(shape, "is_tagged_union", False):
            return st.one_of(
                *(
                    st.fixed_dictionaries({name: make_value(item, depth + 1)})
                    for name, item in shape.members.items()
                )
            )
        optional = (
            {}
            if depth > 2
            else {name: item for name, item in shape.members.items() if name not in required}
        )
        chosen = (
            st.lists(st.sampled_from(sorted(optional)), max_size=3, unique=True)
            if optional
            else st.just([])
        )
        return chosen.flatmap(
            lambda names: st.fixed_dictionaries(
                {**required, **{name: make_value(optional[name], depth + 1) for name in names}}
            )
        )
    if kind == "list":
        return st.lists(
            make_value(shape.member, depth + 1), min_size=low or 0, max_size=max(low or 0, 2)
        )
    if kind == "map":
        return st.dictionaries(make_value(shape.key), make_value(shape.value), max_size=2)
    if kind == "string":
        return make_text(shape)
    if kind == "boolean":
        return st.booleans()
    if kind == "timestamp":
        return st.integers(0, 2**31)
    if kind == "blob":
        return st.just("eA==")
    least = max(low or 0, -5)
    most = min(high if high is not None else least + 3, least + 3)
    return (
        st.integers(int(least), int(most))
        if kind in ("integer", "long")
        else st.floats(least, most)
    )


def make_text(shape: Any) -> st.SearchStrategy[str]:
    """Return texts that a shape accepts: known words if they fit, else matches of its pattern."""
    low, high = shape.metadata.get("min", 0), shape.metadata.get("max", 2**31)
    pattern = shapes.compile_pattern(shape.metadata.get("pattern", ".*"))
    if shape.enum:
        return st.sampled_from(shape.enum)
    words = [word for word in WORDS if low <= len(word) <= high and pattern.fullmatch(word)]
    made = st.from_regex(re.compile(f"(?:{pattern.pattern})", re.DOTALL | re.ASCII), fullmatch=True)
    return st.sampled_from(words) if words else made.filter(lambda text: low <= len(text) <= high)


@st.composite
def requests(draw: st.DrawFn, shape: Any) -> Any:
    """Return a request of a shape; every second one is invalid in one place."""
    request = draw(make_value(shape))
    place = request
    while draw(st.booleans()) and isinstance(place, dict | list) and place:
        key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], dict | list) or draw(st.booleans()):
            place[key] = draw(RUBBISH)
            break
        place = place[key]
    return request


@pytest.fixture(scope="module")
def crowded_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    """Return a local AWS that holds one resource of most kinds, all of the same name."""
    with LocalAws(tmp_path_factory.mktemp("crowded-aws")).running() as local:
        local.s3.put_object(Bucket=local.bucket, Key="data/a.csv", Body=b"1,2\n")
        local.sagemaker.create_training_job(**training_request(local, "known"))
        make_model(local, "known")
        make_config(local, "known", {"VariantName": "AllTraffic", "ModelName": "known"})
        local.sagemaker.create_endpoint(EndpointName="known", EndpointConfigName="known")
        local.sagemaker.create_model_package_group(ModelPackageGroupName="known")
        wait_for_status(local, "known")
        wait_until_settled(local, "known")
        yield local


def ask(aws: LocalAws, path: str, body: bytes, headers: dict[str, str]) -> dict[str, Any]:
    """Send a request unchanged, signed; return the answer as botocore parses it."""
    service = "sagemaker"
    if headers.get("X-Amz-Target", "").startswith(TARGETS["application-autoscaling"]):
        service = "application-autoscaling"
    signed = aws.sign(path, body, service, **headers)
    request = urllib.request.Request(aws.url + path, data=body, headers=signed)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return {
                "status_code": answer.status,
                "headers": HeadersDict(answer.headers),
                "body": answer.read(),
            }
    except urllib.error.HTTPError as error:
        with error:
            return {
                "status_code": error.code,
                "headers": HeadersDict(error.headers),
                "body": error.read(),
            }


def list_codes(model: Any) -> set[str]:
    """Return the error codes that an operation's model lists."""
    return {shape.metadata.get("error", {}).get("code", shape.name) for shape in model.error_shapes}


HEADER = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40).map(str.strip)


@pytest.mark.parametrize(
    "kind", ["invocations", "invocations-response-stream", "async-invocations"]
)
def test_every_answer_of_the_runtime_is_one_that_the_model_knows(
    crowded_aws: LocalAws, kind: str
) -> None:
    operation = {
        "invocations": "InvokeEndpoint",
        "invocations-response-stream": "InvokeEndpointWithResponseStream",
        "async-invocations": "InvokeEndpointAsync",
    }[kind]
    model = shapes.service_model("sagemaker-runtime").operation_model(operation)
    names = sorted(
        member.serialization["name"]
        for member in model.input_shape.members.values()
        if member.serialization.get("location") == "header"
    )

    @settings(
        max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    @given(
        st.sampled_from(["known", "known", "nowhere", "-", "a" * 64, "%00", "..", "k%20n"]),
        st.dictionaries(st.sampled_from(names), HEADER, max_size=3),
        st.sampled_from([b"", b"1,2", b"refuse", b"fail", b"stream a b", b"\xff\xfe"]),
    )
    def check(name: str, headers: dict[str, str], body: bytes) -> None:
        answer = ask(crowded_aws, f"/endpoints/{name}/{kind}", body, headers)
        if answer["status_code"] < 300:
            assert name == "known"
            assert body not in (b"refuse", b"fail")
            return
        parsed = botocore.parsers.create_parser("rest-json").parse(answer, model.output_shape)
        assert parsed["Error"]["Code"] in list_codes(model) | {
            "ValidationError",
            "UnknownOperationException",
        }, parsed
        assert answer["status_code"] in (400, 404, 424), parsed
        assert parsed["Error"]["Message"]

    check()


@pytest.mark.parametrize(("service", "operation"), OPERATIONS)
def test_every_answer_is_one_that_the_model_knows(
    crowded_aws: LocalAws, service: str, operation: str
) -> None:
    model = shapes.service_model(service).operation_model(operation)
    target = {
        "X-Amz-Target": f"{TARGETS[service]}.{operation}",
        "Content-Type": "application/x-amz-json-1.1",
    }

    @settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(requests(model.input_shape))
    def check(request: Any) -> None:
        answer = ask(crowded_aws, "/", json.dumps(request).encode(), target)
        parsed = botocore.parsers.create_parser("json").parse(answer, model.output_shape)
        if answer["status_code"] == 200:
            assert (
                not ParamValidator().validate(drop_nulls(request), model.input_shape).has_errors()
            )
            if model.output_shape is not None:
                result = {key: value for key, value in parsed.items() if key != "ResponseMetadata"}
                report = ParamValidator().validate(result, model.output_shape)
                assert not report.has_errors(), report.generate_report()
        else:
            assert answer["status_code"] == 400, parsed
            assert parsed["Error"]["Code"] in ALWAYS | list_codes(model)
            assert parsed["Error"]["Message"]

    check()


def drop_nulls(value: Any) -> Any:
    """Leave out members without a value, which mean nothing in JSON 1.1."""
    if isinstance(value, dict):
        return {key: drop_nulls(item) for key, item in value.items() if item is not None}
    return [drop_nulls(item) for item in value] if isinstance(value, list) else value
