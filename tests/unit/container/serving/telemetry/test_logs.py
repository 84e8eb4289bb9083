"""The server's log: lines of text or JSON."""

import json
import logging
from typing import Any

import pytest

from container.serving import inference
from container.serving.exchange import Request, Response
from container.serving.server_settings import Settings
from container.serving.telemetry import logs


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
    response = Response(200, b"12345", "text/csv", seconds={"decode": 0.001, "predict": 0.5})

    exchange = logs.Exchange("POST", "/invocations?secret", headers, 3, 5, started=0)
    logs.log_request(exchange, response)

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
@pytest.mark.parametrize("placeholders", [False, True])
def test_reason_in_the_log_quotes_nothing_of_the_body(
    caplog: pytest.LogCaptureFixture,
    content_type: str,
    body: bytes,
    placeholders: bool,
) -> None:
    caplog.set_level(logging.INFO)
    settings = Settings(placeholders=placeholders)
    model = inference.Inference(
        lambda _: 1 / 0, input_shape=(1, 4, 1), classes=(1, 2), settings=settings
    )

    model.invoke(Request(body, {"content-type": content_type.replace("SECRET", "klingon")}))

    assert caplog.records
    assert "SECRET" not in caplog.text
    assert all("SECRET" not in logs.JsonFormatter().format(record) for record in caplog.records)
