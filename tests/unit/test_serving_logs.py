"""What the server tells of itself in its log: lines of text or JSON, and CloudWatch's embedded metrics."""

import json
import logging
import math
from typing import Any

import jsonschema_rs
import pytest

from container.errors import UserError
from container.serving import inference, server_settings
from container.serving.telemetry import emf, logs
from container.serving.telemetry.metrics import SECONDS, Metrics

# Written from the facts of CloudWatch's user guide, "Specification: Embedded metric format".
EMF_SCHEMA = {
    "type": "object",
    "required": ["_aws"],
    "properties": {
        "_aws": {
            "type": "object",
            "required": ["Timestamp", "CloudWatchMetrics"],
            "properties": {
                "Timestamp": {
                    "type": "integer",
                    "minimum": 1_500_000_000_000,
                    "maximum": 9_999_999_999_999,
                },
                "CloudWatchMetrics": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["Namespace", "Dimensions", "Metrics"],
                        "properties": {
                            "Namespace": {"type": "string", "minLength": 1, "maxLength": 1024},
                            "Dimensions": {
                                "type": "array",
                                "minItems": 1,
                                "items": {
                                    "type": "array",
                                    "maxItems": 30,
                                    "uniqueItems": True,
                                    "items": {"type": "string", "minLength": 1, "maxLength": 250},
                                },
                            },
                            "Metrics": {
                                "type": "array",
                                "minItems": 1,
                                "maxItems": 100,
                                "items": {
                                    "type": "object",
                                    "additionalProperties": False,
                                    "required": ["Name"],
                                    "properties": {
                                        "Name": {
                                            "type": "string",
                                            "minLength": 1,
                                            "maxLength": 1024,
                                        },
                                        "Unit": {"enum": ["Count", "Milliseconds"]},
                                        "StorageResolution": {"enum": [1, 60]},
                                    },
                                },
                            },
                        },
                    },
                },
            },
        }
    },
}


def assert_is_emf(document: dict[str, Any]) -> None:
    """Check the schema, and that each member that it refers to is there with a value of the right kind."""
    jsonschema_rs.validate(EMF_SCHEMA, document)
    for directive in document["_aws"]["CloudWatchMetrics"]:
        for name in {name for names in directive["Dimensions"] for name in names}:
            assert isinstance(document[name], str)
            assert 0 < len(document[name]) <= 1024
        for metric in directive["Metrics"]:
            value = document[metric["Name"]]
            values = value if isinstance(value, list) else [value]
            assert 0 < len(values) <= 100
            assert all(isinstance(each, (int, float)) and math.isfinite(each) for each in values)


def make_record(message: str, exc_info: Any = None) -> logging.LogRecord:
    return logging.LogRecord("container", logging.INFO, __file__, 1, message, (), exc_info)


def test_line_of_json_has_time_level_process_and_message_and_the_traceback_in_one_line() -> None:
    error = KeyError("model")
    record = make_record('said "so"\n', exc_info=(KeyError, error, None))

    line = logs.JsonFormatter().format(record)

    document = json.loads(line)
    assert "\n" not in line
    assert (document["level"], document["process"], document["message"]) == (
        "INFO",
        record.process,
        'said "so"\n',
    )
    assert document["time"].endswith("+00:00")
    assert document["exception"].endswith("KeyError: 'model'")


def test_line_of_a_request_has_what_is_asked_of_it_and_no_query_nor_other_header(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    headers = {
        "content-type": "text/csv; secret=1",
        "x-amzn-sagemaker-inference-id": "i-1",
        "authorization": "secret",
    }
    response = inference.Response(
        200, b"12345", "text/csv", seconds={"decode": 0.001, "predict": 0.5}
    )

    logs.log_request(
        response,
        method="POST",
        target="/invocations?secret",
        headers=headers,
        started=0,
        bytes_in=3,
        bytes_out=5,
    )

    (record,) = caplog.records
    document = json.loads(logs.JsonFormatter().format(record))
    assert document.pop("ms") | {"total": 1} == {"total": 1, "decode": 1.0, "predict": 500.0}
    assert len(document.pop("request_id")) == 32
    assert {name: document[name] for name in list(document)[3:]} == {
        "message": "request",
        "method": "POST",
        "path": "/invocations",
        "status": 200,
        "bytes_in": 3,
        "bytes_out": 5,
        "content_type": "text/csv",
        "answer_type": "text/csv",
        "inference_id": "i-1",
    }
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/csv", b"1,2,3,SECRET"),
        ("text/csv", b"SECRET\\',\"SECRET"),
        ("application/json", b'{"SECRET": 1}'),
        (
            "application/json",
            b'[["SECRET", {"SECRET": "SECRET SECRET SECRET SECRET SECRET"}, 1, 1]]',
        ),
        ("application/json", b'[[{"SECRET": "SECRET SECRET SECRET SECRET SECRET"}, 1, 1, 1]]'),
        ("application/jsonlines", b'{"features": ["SECRET", 1, 1, 1]}'),
        ("text/csv; charset=SECRET", b"1"),
    ],
)
@pytest.mark.parametrize("placeholders", [{}, {"placeholders": True}])
def test_reason_in_the_log_quotes_nothing_of_the_body(
    caplog: pytest.LogCaptureFixture, content_type: str, body: bytes, placeholders: dict[str, bool]
) -> None:
    caplog.set_level(logging.INFO)
    model = inference.Inference(
        lambda _: 1 / 0, input_shape=(1, 4, 1), classes=(1, 2), **placeholders
    )

    model.invoke(
        inference.Request(body, {"content-type": content_type.replace("SECRET", "klingon")})
    )

    assert caplog.records
    assert "SECRET" not in caplog.text
    assert all("SECRET" not in logs.JsonFormatter().format(record) for record in caplog.records)


def test_embedded_metrics_tell_what_happened_since_the_last_line() -> None:
    metrics = Metrics(workers=2, labels={"model": "abc"})
    metrics.count(200, {"request": 5}, 7)
    before = metrics.read()
    for row, status in enumerate((200, 400)):
        metrics.take(row)
        metrics.show(10, 4, 2)
        for _ in range(2):
            metrics.count(status, {"request": 0.004}, 3 if status == 200 else 0)
    metrics.count_error("busy", 503)

    document = emf.describe(
        before, metrics.read(), "Team/Models", {"EndpointName": "digits"}, 1_795_000_000_000
    )

    assert_is_emf(document)
    assert document["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["EndpointName"]]
    assert document["EndpointName"] == "digits"
    wanted = {
        "Requests": 5,
        "Images": 6,
        "Refused": 2,
        "Failed": 0,
        "Busy": 1,
        "QueueRequests": 4,
        "Connections": 20,
    }
    assert {name: document[name] for name in wanted} == wanted
    assert document["Workers"] == 2
    assert len(document["Latency"]) == 4
    assert all(2.5 <= value <= 5 for value in document["Latency"])


def test_embedded_metrics_of_nothing_have_no_latency_and_may_have_no_dimension() -> None:
    totals = Metrics(workers=1, labels={}).read()

    document = emf.describe(totals, totals, "Team/Models", {}, 1_795_000_000_000)

    assert_is_emf(document)
    assert document["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [[]]
    assert "Latency" not in document
    assert document["Requests"] == 0


@pytest.mark.parametrize("total", [1, 2, 99, 100, 101, 12345])
def test_values_of_a_histogram_are_spread_as_it_says(total: int) -> None:
    counts = [0.0] * (len(SECONDS) + 1)
    slow = total // 10
    counts[3], counts[-1] = total - slow, slow

    values = emf.spread(counts, SECONDS, 100)

    assert len(values) == min(total, 100)
    assert values == sorted(values)
    assert abs(sum(value == 60 for value in values) - slow * len(values) / total) <= 1
    assert all(0.0005 < value < 0.001 or value == 60 for value in values)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BYO_LOG_FORMAT", "xml"),
        ("BYO_EMF_NAMESPACE", "AWS/SageMaker"),
        ("BYO_EMF_NAMESPACE", "a b"),
        ("BYO_EMF_DIMENSIONS", "EndpointName"),
        ("BYO_EMF_DIMENSIONS", "EndpointName="),
        ("BYO_EMF_DIMENSIONS", "a=1,a=2"),
        ("BYO_EMF_DIMENSIONS", ",".join(f"d{number}=1" for number in range(31))),
        ("BYO_EMF_INTERVAL_S", "0"),
    ],
)
def test_wrong_setting_of_the_log_is_named(name: str, value: str) -> None:
    with pytest.raises(UserError, match=f"{name}=.*expected"):
        server_settings.parse({name: value})


def test_settings_of_the_log_are_read() -> None:
    found = server_settings.parse(
        {
            "BYO_LOG_FORMAT": "json",
            "BYO_EMF_NAMESPACE": "Team/Models",
            "BYO_EMF_DIMENSIONS": "EndpointName=digits, Variant = All Traffic",
            "BYO_EMF_INTERVAL_S": "10",
        }
    )

    assert (found.log_format, found.emf_namespace, found.emf_interval_s) == (
        "json",
        "Team/Models",
        10,
    )
    assert found.emf_dimensions == (("EndpointName", "digits"), ("Variant", "All Traffic"))
