"""Bodies of handlers that leave decoding to the toolkit."""

import io
import zipfile
from typing import Any

import numpy as np
import pytest

from container.errors import RequestError
from container.serving.third_party import bounds
from container.serving.user_code import inference_toolkit


def make_npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.arange(2))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("media_type", "body", "reason"),
    [
        ("application/x-npy", make_npy() + make_npy(), "declares 16 bytes of data; 160 follow"),
        ("application/x-npy", make_npy()[:-1], "declares 16 bytes of data; 15 follow"),
        ("text/csv", "a\0,\0b\0", "the body holds zero bytes, as UTF-16 does"),
    ],
)
def test_what_would_be_left_out_or_taken_for_text_is_refused(
    media_type: str, body: str | bytes, reason: str
) -> None:
    with pytest.raises(RequestError, match=reason) as caught:
        inference_toolkit.decode(body, media_type)
    assert caught.value.status == 400


def test_pickled_array_is_refused() -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(RequestError, match="pickled Python objects") as caught:
        inference_toolkit.decode(buffer.getvalue(), "application/x-npy")
    assert caught.value.status == 400


@pytest.mark.parametrize("fault", ["deflate", "bzip2", "header"])
def test_sparse_matrix_that_expands_too_far_is_refused_before_it_is_read(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SEC-6."""
    monkeypatch.setattr(bounds, "count_payload_bytes", lambda: 100_000)
    monkeypatch.setattr(inference_toolkit.importlib.util, "find_spec", lambda _: True)
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (100000,)}"
    npy = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    data = bytes(1 if fault == "header" else 100_000)
    stream = io.BytesIO()
    method = zipfile.ZIP_BZIP2 if fault == "bzip2" else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr("data.npy", npy + data)

    with pytest.raises(RequestError) as caught:
        inference_toolkit.decode(stream.getvalue(), "application/x-npz")
    assert caught.value.status == (413 if fault == "deflate" else 400)
    assert {"deflate": "expands", "bzip2": "deflate", "header": "shorter"}[fault] in str(
        caught.value
    )


@pytest.mark.parametrize("index", [3, -1, 10**6])
@pytest.mark.parametrize("kind", ["csr", "csc", "coo"])
def test_index_beyond_a_sparse_matrix_is_refused(kind: str, index: int) -> None:
    """SEC-6: scipy would read and write there, in the memory of the process."""
    arrays: dict[str, Any] = {"row": [0, 1], "col": [0, index]}
    if kind != "coo":
        arrays = {"indices": [0, index], "indptr": [0, 1, 2, 2][: 3 + (kind == "csc")]}
    arrays = {name: np.array(value, np.int32) for name, value in arrays.items()}
    stream = io.BytesIO()
    np.savez(stream, format=kind.encode(), shape=[2, 3], data=np.ones(2), **arrays)
    with pytest.raises(RequestError, match="the body is not application/x-npz") as caught:
        inference_toolkit.decode(stream.getvalue(), "application/x-npz")
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("prediction", "text"),
    [
        (np.ma.array([1.5, 2], mask=[True, False]), '""\n2.0\n'),
        ([["a", None], ["b, c", 2**70]], 'a,\n"b, c",1180591620717411303424\n'),
        (np.array([1, np.nan, True], object), "1\nnan\nTrue\n"),
    ],
)
def test_csv_holds_the_values_themselves(prediction: Any, text: str) -> None:
    assert inference_toolkit.encode(prediction, "text/csv") == text


@pytest.mark.parametrize(
    ("prediction", "found"),
    [
        (np.array([b"cat"]), "ndarray with values of the type bytes_"),
        ([{1}, {2}], "list with values of the type set"),
        (np.array([None, (1, 2)], object), "ndarray with values of the type tuple"),
        (np.array([1j]), "ndarray with values of the type complex128"),
        (np.array([1], "m8[s]"), "ndarray"),
        ({"a": 1}, "dict"),
    ],
)
def test_what_csv_cannot_hold_is_refused_with_its_type(prediction: Any, found: str) -> None:
    reason = f"is a {found} that text/csv cannot hold; add an output_fn, or accept application/json"
    with pytest.raises(RequestError, match=reason) as caught:
        inference_toolkit.encode(prediction, "text/csv")
    assert caught.value.status == 406
