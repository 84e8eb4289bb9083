"""Nothing of a body reaches the log by the text of an error, however the text spells it."""

from __future__ import annotations

import gzip
import io
import json
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from container.errors import RequestError
from container.serving import inference
from container.serving.exchange import Request
from container.serving.telemetry import logs, redaction
from container.serving.telemetry.redaction import Redaction, describe
from container.serving.user_code.application import Application


def save(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("body", "text", "logged"),
    [
        (b"age,SECRET", "no number: SECRET", "no number: ..."),
        (b"age,SECRET", "no number: 'SECRET'", "no number: '...'"),
        (b"age,SECRET", "no number: secret", "no number: ..."),
        (b"age,SECRETS", "begins with SECR", "begins with ..."),
        (b"age,SECRET", "could not use key=SECRET;", "could not use key=...;"),
        (b"it is 71.5", "71.5 is too large", "... is too large"),
        (b"it is 7.15e1", "71.50 is too large", "... is too large"),
        (b"1e6", "1000000 is too large", "... is too large"),
        (b"a", "index 3 is out of bounds for axis 0", "index 3 is out of bounds for axis 0"),
        (b"a,b", "'NoneType' has no attribute 'predict'", "'NoneType' has no attribute 'predict'"),
        (b"a\nb", r"bad cell 'a\nb'", "bad cell '...'"),
        (b'{"name": "caf\\u00e9"}', "unknown café", "unknown ..."),
        (b'{"name": "a\\/b/c"}', "unknown a/b/c", "unknown ..."),
        ("naive".encode("utf-16"), "unknown naive", "unknown ..."),
        ("café".encode("latin-1"), "unknown 'café'", "unknown '...'"),
        (save(np.array(["SECRET"])), "unknown SECRET", "unknown ..."),
        (save(np.array([7.25])), "unknown 7.25", "unknown ..."),
        (gzip.compress(b"SECRET", mtime=0), "unknown 'SECRET'", "unknown '...'"),
        (b"", "the route '/nothing' does not exist", "the route '/nothing' does not exist"),
    ],
)
def test_text_loses_what_the_body_holds(body: bytes, text: str, logged: str) -> None:
    assert Redaction(body).hide(text) == logged


def test_long_text_is_cut() -> None:
    assert len(Redaction(b"").hide("x" * 1_000_000)) < 2100


def test_search_has_a_bound_beyond_which_words_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_SEARCHED_CHARACTERS", 25)

    assert Redaction(b"0123456789").hide("one two three four") == "one two ... ..."


def test_words_of_a_very_large_body_are_not_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_BODY_BYTES", 5)

    assert Redaction(b"SECRET").hide("it is SECRET or 'SECRET'") == "it is ... or '...'"


def fail_with_causes(data: str) -> None:
    try:
        float(data)
    except ValueError as error:
        error.add_note(f"it was {data}")
        message = f"{data} is no age"
        raise KeyError(message) from error


def test_traceback_keeps_frames_and_lines_of_code_and_hides_values() -> None:
    with pytest.raises(KeyError) as caught:
        fail_with_causes("secret".upper())

    text = describe(caught.value, Redaction(b"age,SECRET"))

    assert "SECRET" not in text
    assert text.startswith("Traceback (most recent call last):\n  File ")
    assert f'File "{Path(__file__)}"' in text
    assert "float(data)" in text
    assert "ValueError: could not convert string to float: '...'" in text
    assert "The above exception was the direct cause" in text
    assert text.endswith("KeyError: '...'")


def test_long_traceback_keeps_its_end() -> None:
    error: BaseException = ValueError("the first")
    for number in range(100):
        following = RuntimeError(f"{number} " + "x" * 400)
        following.__cause__ = error
        error = following

    text = describe(error)

    assert len(text) < 17_000
    assert text.startswith("ValueError: the first")
    assert "99 xxx" in text[-500:]
    assert "characters left out" in text


def raise_value_error(data: Any, *_: Any) -> Any:
    message = f"cannot use {data}"
    raise ValueError(message)


def raise_request_error(data: Any, *_: Any) -> Any:
    raise RequestError(422, f"cannot use {data}")


def leave(data: Any, *_: Any) -> Any:
    sys.exit(f"cannot use {data}")


def convert(data: Any, *_: Any) -> Any:
    return [float(cell) for cell in data.split(",")]


def look_up(data: Any, *_: Any) -> Any:
    return {}[json.loads(data)["name"]] if data[0] == "{" else {}[data]


class BaseInferenceToolkitError(Exception):
    """As the toolkit's."""

    status_code = 0


def raise_toolkit_error(status: int) -> Any:
    def fail(data: Any, *_: Any) -> Any:
        error = BaseInferenceToolkitError(f"cannot use {data}")
        error.status_code = status
        raise error

    return fail


@pytest.mark.parametrize(
    "function",
    [
        raise_value_error,
        raise_request_error,
        leave,
        convert,
        look_up,
        raise_toolkit_error(400),
        raise_toolkit_error(500),
        raise_toolkit_error(999),
    ],
)
@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/csv", b"1,SECRET-4711,2"),
        ("application/json", b'{"name": "SECRET-4711"}'),
        ("text/plain", b"SECRET-4711"),
    ],
)
def test_error_of_user_code_is_logged_without_the_body(
    function: Any, content_type: str, body: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    functions = {"model_fn": lambda _: None, "input_fn": function, "predict_fn": lambda d, _: d}

    response = Application(functions, tmp_path).invoke(
        Request(body, {"content-type": content_type})
    )

    assert response.status >= 400
    assert response.request_id in caplog.text
    assert "SECRET" not in caplog.text
    assert "4711" not in caplog.text
    for formatter in (logs.JsonFormatter(), logs.TextFormatter("%(message)s")):
        assert all("SECRET" not in formatter.format(record) for record in caplog.records)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b'[1, "SECRET"'),
        ("application/json", b'[["SECRET", 1], 2]'),
        ("application/x-npy", b"SECRET"),
        ("application/x-npy", save(np.array([["SECRET"]]))),
        ("application/x-npz", b"SECRET"),
        ("application/SECRET", b"SECRET"),
    ],
)
def test_error_of_a_default_decoder_is_logged_without_the_body(
    content_type: str, body: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    functions = {"model_fn": lambda _: None, "predict_fn": lambda data, _: np.sqrt(data)}

    Application(functions, tmp_path).invoke(Request(body, {"content-type": content_type}))

    assert caplog.records
    assert "SECRET" not in caplog.text


def test_exception_of_a_bundled_model_is_logged_without_the_body(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def predict(images: Any) -> Any:
        message = f"cannot use {images.tolist()}"
        raise ValueError(message)

    model = inference.Inference(predict, input_shape=(1, 4, 1), classes=(1, 2))

    response = model.invoke(Request(b"171,172,173,174", {"content-type": "text/csv"}))

    assert response.status == 500
    assert "ValueError: cannot use [" in caplog.text
    assert "172" not in caplog.text
