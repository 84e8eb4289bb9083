"""The core: what it answers to a request, whatever shell is in front of it."""

import io
import json
import logging
from typing import Any

import numpy as np
import pytest

from container.serving import inference
from container.serving.exchange import Request, Response
from container.serving.server_settings import Settings
from container.serving.telemetry.metrics import Metrics

ROW = b"0,0,0,200"


def brightest_pixel(images: Any) -> Any:
    """Classify rows of four pixels: a class's probability is its pixel's share of the light."""
    light = images.reshape(len(images), 4).astype(np.float32) + 1
    return light / light.sum(axis=1, keepdims=True)


def make(
    predict: Any = brightest_pixel, metrics: Metrics | None = None, **settings: Any
) -> inference.Inference:
    return inference.Inference(
        predict,
        input_shape=(1, 4, 1),
        classes=("a", "b", "c", "d"),
        settings=Settings(**settings),
        metrics=metrics,
    )


def invoke(model: inference.Inference, body: bytes = ROW, **headers: str) -> Response:
    named = {
        "content-type": "text/csv",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return model.invoke(Request(body, named))


def test_answer_has_exactly_outputs_and_predictions() -> None:
    response = invoke(make())

    document = json.loads(response.body)
    assert (response.status, response.content_type) == (200, "application/json")
    assert np.argmax(document["outputs"][0]) == 3
    assert document == {
        "outputs": [pytest.approx([1 / 204, 1 / 204, 1 / 204, 201 / 204])],
        "predictions": [{"label": "d", "index": 3, "score": pytest.approx(201 / 204)}],
    }


def test_default_accept_answers_whoever_accepts_anything() -> None:
    """RQ-4, DC-1."""
    model = make(default_accept="text/csv")

    assert invoke(model).content_type == "text/csv"
    assert invoke(model, accept="*/*").content_type == "text/csv"
    assert invoke(model, accept="application/json").content_type == "application/json"


def test_unacceptable_accept_is_406_and_names_what_is_possible() -> None:
    response = invoke(make(), accept="image/png")

    assert response.status == 406
    assert "'image/png'" in json.loads(response.body)["error"]
    assert (
        "application/json, application/jsonlines, text/csv, application/x-npy"
        in json.loads(response.body)["error"]
    )


def test_custom_attributes_are_echoed_also_on_errors() -> None:
    """RQ-5."""
    name = "X-Amzn-SageMaker-Custom-Attributes"

    assert (name, "trace=1") in invoke(make(), x_amzn_sagemaker_custom_attributes="trace=1").headers
    assert (name, "trace=1") in invoke(
        make(), b"", x_amzn_sagemaker_custom_attributes="trace=1"
    ).headers
    assert invoke(make(), x_amzn_sagemaker_custom_attributes="a\r\nSet-Cookie: b").headers == ()
    assert invoke(make(), x_amzn_sagemaker_custom_attributes="x" * 1025).headers == ()


def test_bug_is_500_whose_request_id_stands_in_the_log_with_the_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """SEC-4."""

    def fail(_: Any) -> Any:
        raise KeyError("secret of the model")

    response = invoke(make(fail))

    document = json.loads(response.body)
    assert response.status == 500
    assert b"secret" not in response.body
    assert b"Traceback" not in response.body
    assert document["request_id"] in caplog.text
    assert "KeyError: 'secret of the model'" in caplog.text


@pytest.mark.parametrize(
    ("value", "status"), [(np.nan, 500), (np.inf, 500), (-np.inf, 500), (3e38, 200), (-3e38, 200)]
)
def test_probability_that_is_not_finite_is_500_and_never_invalid_json(
    value: float, status: int
) -> None:
    response = invoke(make(lambda images: np.full((len(images), 4), value, np.float32)))

    assert response.status == status


def test_error_is_useful_in_its_first_2048_bytes(caplog: pytest.LogCaptureFixture) -> None:
    """RQ-6."""
    caplog.set_level(logging.INFO)

    response = invoke(make(), b"x" * 100_000)

    assert response.status == 400
    assert len(response.body) <= 2048
    assert json.loads(response.body)["error"].startswith("row 1, column 1 is 'xxx")
    assert json.loads(response.body)["request_id"] in caplog.text


def test_transform_answer_has_no_newline_at_its_end() -> None:
    """BT-8."""
    assert not invoke(make(batch=True), accept="text/csv").body.endswith(b"\n")
    assert invoke(make(batch=True), ROW + b"\n" + ROW, accept="text/csv").body.count(b"\n") == 1


@pytest.mark.parametrize("content_type", ["text/csv", "application/jsonlines"])
def test_bad_record_of_a_transform_gets_a_placeholder_in_its_place(content_type: str) -> None:
    """BT-9."""
    lines = [b"0,0,0,200", b"0,0,0,x", b"0,0", b"200,0,0,0", b"0,0,0,999"]
    if content_type == "application/jsonlines":
        lines = [b"[" + line + b"]" for line in lines]
    body = b"\n".join(lines) + b"\n"
    model = make(batch=True, placeholders=True)

    def ask(accept: str) -> bytes:
        response = invoke(model, body, content_type=content_type, accept=accept)
        assert response.status == 200
        return response.body

    document = json.loads(ask("application/json"))
    assert [output is None for output in document["outputs"]] == [False, True, True, False, True]
    assert [item.get("index") for item in document["predictions"]] == [3, None, None, 0, None]
    assert "999" in document["predictions"][4]["error"]
    assert [len(line.split(b",")) for line in ask("text/csv").split(b"\n")] == [4] * 5
    assert ask("text/csv").split(b"\n")[1] == b",,,"
    assert ["error" in json.loads(line) for line in ask("application/jsonlines").split(b"\n")] == [
        0,
        1,
        1,
        0,
        1,
    ]
    assert np.isnan(np.load(io.BytesIO(ask("application/x-npy")))).all(axis=1).tolist() == [
        False,
        True,
        True,
        False,
        True,
    ]


def test_transform_of_bad_records_alone_is_answered() -> None:
    response = invoke(make(placeholders=True, batch=True), b"x\ny", accept="text/csv")

    assert (response.status, response.body) == (200, b",,,\n,,,")


def test_bad_record_outside_a_transform_refuses_the_request() -> None:
    assert invoke(make(), ROW + b"\nx").status == 400


def make_stream(
    count: int, predict: Any = brightest_pixel, body: bytes = b"", **options: Any
) -> Response:
    """Ask for `count` rows in JSON lines; pieces hold 32 images, as their time is unknown."""
    body = body or b"\n".join(b"0,0,%d,200" % (row % 200) for row in range(count))
    headers = {"content-type": "text/csv", "accept": "application/jsonlines"}
    return make(predict, **options).invoke(Request(body, headers, can_stream=True))


def take_all(response: Response) -> list[bytes]:
    pieces = [response.body]
    while response.rest is not None and response.body:
        response = inference.take_piece(response)
        pieces.append(response.body)
    assert response.status == 200
    return pieces[:-1] if len(pieces) > 1 else pieces


@pytest.mark.parametrize("options", [{}, {"batch": True}])
@pytest.mark.parametrize(("count", "pieces"), [(1, 1), (32, 1), (33, 2), (64, 2), (100, 4)])
def test_streamed_pieces_are_the_whole_answer_and_are_computed_when_they_are_taken(
    count: int, pieces: int, options: dict[str, Any]
) -> None:
    """ST-1."""
    asked: list[int] = []

    def predict(images: Any) -> Any:
        asked.append(len(images))
        return brightest_pixel(images)

    response = make_stream(count, predict, **options)
    assert len(asked) == 1

    taken = take_all(response)

    body = b"\n".join(b"0,0,%d,200" % (row % 200) for row in range(count))
    assert b"".join(taken) == invoke(make(**options), body, accept="application/jsonlines").body
    assert len(taken) == len(asked) == pieces
    assert max(asked) <= 32


@pytest.mark.parametrize(
    "bad", [{0}, {31, 32, 33}, {64}, {99}, set(range(40, 100)), set(range(60))]
)
def test_placeholders_of_a_stream_stand_in_their_places(bad: set[int]) -> None:
    """BT-9, ST-1."""
    body = b"\n".join(b"x" if row in bad else b"0,0,%d,200" % row for row in range(100))
    options = {"placeholders": True, "batch": True}

    taken = take_all(make_stream(0, body=body, **options))

    assert b"".join(taken) == invoke(make(**options), body, accept="application/jsonlines").body


def test_error_in_the_middle_of_a_stream_is_told_and_counted_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """ST-1."""
    metrics = Metrics(workers=1, labels={})
    asked: list[int] = []

    def predict(images: Any) -> Any:
        asked.append(len(images))
        if len(asked) == 2:
            raise KeyError("model")
        return brightest_pixel(images)

    response = make_stream(100, predict, metrics=metrics)
    piece = inference.take_piece(response)

    assert (response.status, piece.status, piece.rest) == (200, 500, None)
    assert "KeyError: 'model'" in caplog.text
    assert 'serving_requests_total{status="500"} 1\n' in metrics.render()
    assert 'serving_requests_total{status="200"} 0\n' in metrics.render()
    assert 'serving_stage_seconds_count{stage="request"} 1\n' in metrics.render()


def test_error_before_the_first_piece_is_an_answer_as_any_other() -> None:
    metrics = Metrics(workers=1, labels={})

    response = make_stream(
        100, lambda images: np.full((len(images), 4), np.nan, np.float32), metrics=metrics
    )

    assert (response.status, response.rest) == (500, None)
    assert 'serving_requests_total{status="500"} 1\n' in metrics.render()


def test_stream_that_nobody_takes_to_its_end_is_counted_once() -> None:
    metrics = Metrics(workers=1, labels={})

    make_stream(100, metrics=metrics)  # and dropped

    assert 'serving_requests_total{status="200"} 1\n' in metrics.render()
