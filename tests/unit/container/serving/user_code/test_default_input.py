"""What handlers without `input_fn` get; the matrix of all bodies is in `tests/contract`."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from container.errors import RequestError
from container.serving.exchange import Request
from container.serving.third_party import bounds
from container.serving.user_code import default_input
from container.serving.user_code.application import Application
from container.serving.user_code.default_input import Taker

PLAIN = Taker()


def decode(content_type: str, body: bytes, taker: Taker = PLAIN) -> Any:
    return default_input.decode(body, content_type, taker).data


def draw(mode: str, size: tuple[int, int] = (3, 2)) -> bytes:
    stream = io.BytesIO()
    Image.new(mode, size).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("text", "rows", "kind"),
    [
        (b"1,2\n3,4", [[1, 2], [3, 4]], "i"),
        (b"1,2\n,4", [[1, 2], [np.nan, 4]], "f"),
        (b"1,4\n2,NA", [[1, 4], [2, np.nan]], "f"),
        (b"1,2.5\n3,4.5", [[1, 2.5], [3, 4.5]], "f"),
        (b'1,"a, b"\n2,c', [[1, "a, b"], [2, "c"]], "O"),
        (b"x,y\n1,2\n3,4", [[1, 2], [3, 4]], "i"),
        (b"5", 5, "i"),
        (b"5,6", [5, 6], "i"),
    ],
)
def test_csv_is_never_changed_in_silence(text: bytes, rows: Any, kind: str) -> None:
    """`genfromtxt` makes -1, record types and errors of these."""
    got = decode("text/csv", text)
    assert got.dtype.kind == kind
    assert repr(got.tolist()) == repr(np.array(rows, got.dtype).tolist())


@pytest.mark.parametrize(
    ("mode", "shape"), [("L", (2, 3, 1)), ("1", (2, 3, 1)), ("RGB", (2, 3, 3)), ("RGBA", (2, 3, 4))]
)
def test_picture_has_its_own_size_and_channels(mode: str, shape: tuple[int, ...]) -> None:
    for content_type in ("application/x-image", "image/jpg"):
        assert decode(content_type, draw(mode)).shape == shape


def test_pictures_of_several_sizes_are_a_list() -> None:
    head = b'--b\r\nContent-Disposition: form-data; filename="a.png"\r\n\r\n'
    body = head + draw("L") + b"\r\n" + head + draw("L", (5, 5)) + b"\r\n--b--"
    got = decode("multipart/form-data; boundary=b", body)
    assert [picture.shape for picture in got] == [(2, 3, 1), (5, 5, 1)]


def test_bytes_that_are_no_pictures_stay_bytes() -> None:
    assert decode("application/json", b'{"instances": [{"b64": "AAE="}]}') == [b"\0\1"]


def test_named_inputs_are_arrays_by_name() -> None:
    got = decode("application/json", b'{"inputs": {"a": [1, 2], "b": [3]}}')
    assert {name: column.tolist() for name, column in got.items()} == {"a": [1, 2], "b": [3]}


def test_other_objects_are_what_the_toolkit_makes_of_them() -> None:
    assert decode("application/json", b'{"text": "a"}').tolist() == {"text": "a"}


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/pdf", b"1", 415),
        ("", b"1", 415),
        ("application/jsonl", b"1\n\n2", 400),
        ("application/jsonl", b"[1]\n[1, 2]", 400),
        ("application/json", b'{"instances": [[1], [1, 2]]}', 400),
        ("application/json", b'{"instances": ', 400),
        ("image/png", b"", 400),
        ("text/csv; header=maybe", b"1", 400),
        ("text/csv; charset=klingon", b"1", 415),
    ],
)
def test_fault_is_the_clients(content_type: str, body: bytes, status: int) -> None:
    with pytest.raises(RequestError) as caught:
        decode(content_type, body)
    assert caught.value.status == status


def test_pictures_share_the_room_of_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """SEC-6."""
    monkeypatch.setattr(bounds, "count_payload_bytes", lambda: 50_000)
    part = b"--b\r\n\r\n" + draw("L", (100, 100)) + b"\r\n"
    with pytest.raises(RequestError) as caught:
        decode("multipart/form-data; boundary=b", part * 6 + b"--b--")
    assert caught.value.status == 413


def test_annotation_asks_for_a_frame() -> None:
    def plain(data: Any, model: Any) -> None: ...

    def quoted(
        data: "pd.DataFrame",  # type: ignore[name-defined]  # noqa: F821 - without pandas
        model: Any,
    ) -> None: ...

    def other(
        data: "pl.DataFrame",  # type: ignore[name-defined]  # noqa: F821 - without polars
        model: Any,
    ) -> None: ...

    wanted = [default_input.describe_taker(f, None).wants_frame for f in (plain, quoted, other)]
    assert wanted == [False, True, False]
    assert not default_input.describe_taker(None, None).wants_frame


@pytest.mark.parametrize(
    "answer",
    [
        {"number": np.nan},
        [1.0, np.inf],
        '{"number": NaN}',
        ('{"a": -Infinity}', "application/json"),
        (b'{"text": "NaN", "b": NaN}', "application/json"),
        (bytearray(b"[Infinity]"), "application/jsonlines"),
    ],
)
def test_answer_of_a_handler_is_always_json(answer: Any, tmp_path: Path) -> None:
    functions = {
        "model_fn": lambda _: None,
        "predict_fn": lambda _, __: answer,
        "output_fn": lambda prediction, _: prediction,
    }
    response = Application(functions, tmp_path).invoke(
        Request(b"1", {"content-type": "text/csv", "accept": "application/json"})
    )
    assert response.status == 200
    assert "null" in response.body.decode()
    json.loads(response.body, parse_constant=pytest.fail)


def test_any_default_accept_is_used_by_handlers(tmp_path: Path) -> None:
    functions = {
        "model_fn": lambda _: None,
        "predict_fn": lambda data, _: data,
        "output_fn": lambda _, accept: accept,
    }
    application = Application(functions, tmp_path, "image/png")
    response = application.invoke(Request(b"1", {"content-type": "text/csv", "accept": "*/*"}))
    assert (response.body, response.content_type) == (b"image/png", "image/png")


@pytest.mark.parametrize("prediction", [{"a": 1}, [[[1, 2]]], [{"a": 1}]])
def test_what_csv_cannot_hold_is_406(prediction: Any, tmp_path: Path) -> None:
    functions = {"model_fn": lambda _: None, "predict_fn": lambda _, __: prediction}
    headers = {"content-type": "text/csv", "accept": "text/csv"}
    response = Application(functions, tmp_path).invoke(Request(b"1", headers))
    assert response.status == 406
    assert "application/json" in json.loads(response.body)["error"]
