"""The server's log: lines of text or JSON."""

import json
import logging
from typing import Any

import pytest
from gunicorn.config import Config

from container.serving import inference
from container.serving.exchange import Request, Response
from container.serving.server_settings import Settings
from container.serving.telemetry import logs, redaction
from container.serving.telemetry.line_handler import LineHandler


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
    caplog: pytest.LogCaptureFixture, content_type: str, body: bytes, placeholders: bool
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


FORGED = "x\n2026-11-28 12:00:00,000 INFO 1 loaded model evil from /opt/ml/models/evil"


@pytest.mark.parametrize(
    "end", ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"]
)
def test_no_text_of_a_client_makes_a_line_of_the_log(end: str) -> None:
    record = make_record(FORGED.replace("\n", end))

    for formatter in (logs.TextFormatter("%(asctime)s %(message)s"), logs.JsonFormatter()):
        assert len(formatter.format(record).splitlines()) == 1


@pytest.mark.parametrize("text", ["\x1b[2J", "\x07", "\u202e", "\x9b31m", "\ud800"])
def test_no_text_of_a_client_controls_the_terminal(text: str) -> None:
    line = logs.TextFormatter("%(message)s").format(make_record(text))

    assert line.isprintable()


def test_printable_text_is_written_as_it_is() -> None:
    assert logs.escape("café \u65e5\u672c {x} \\n") == "café \u65e5\u672c {x} \\n"


def test_line_is_bounded() -> None:
    record = make_record("x" * 1_000_000)

    assert len(logs.TextFormatter("%(message)s").format(record)) < 4100
    assert len(logs.JsonFormatter().format(record)) < 4300


def test_lines_of_a_traceback_are_indented_and_hold_no_forged_one() -> None:
    error = ValueError(FORGED)
    record = make_record("failed", exc_info=(ValueError, error, None))
    trace = redaction.describe(error)
    ours = logging.LogRecord("x", 40, "f", 1, "request %s failed\n%s", ("7", trace), None)

    for given in (record, ours):
        first, *others = logs.TextFormatter("%(message)s").format(given).splitlines()
        assert first.endswith("failed")
        assert others
        assert all(line.startswith("    ") for line in others)


def test_traceback_of_a_request_is_a_field_of_its_own() -> None:
    trace = redaction.describe(ValueError("x"))
    record = logging.LogRecord("x", 40, "f", 1, "request %s failed\n%s", ("7", trace), None)

    document = json.loads(logs.JsonFormatter().format(record))

    assert (document["message"], document["exception"]) == ("request 7 failed", "ValueError: x")


@pytest.mark.parametrize("logger", [logs.GunicornLogger, logs.GunicornJsonLogger])
def test_lines_of_gunicorn_are_escaped_and_wait_for_no_reader(logger: Any) -> None:
    made = logger(Config())
    try:
        (handler,) = made.error_log.handlers
        line = handler.format(make_record(FORGED))
    finally:
        made.error_log.handlers.clear()

    assert isinstance(handler, LineHandler)
    assert len(line.splitlines()) == 1
