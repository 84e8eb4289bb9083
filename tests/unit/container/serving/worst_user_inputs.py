"""The worst bodies known for user code and third-party models."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from container.errors import RequestError
from container.serving.bodies import arrays
from container.serving.third_party import bounds, csv_bodies, predict_requests
from container.serving.third_party.tables import Table
from container.serving.user_code import default_input, inference_toolkit
from tests.unit.container.serving.worst_bodies import (
    Decode,
    Make,
    fill,
    filling,
    make_npy,
    make_zip,
    save,
    zeros,
)


def for_user_code(decode: Callable[[Any], Any], *, is_text: bool = True) -> Decode:
    """Decode as for handlers and third-party models, which get text decoded."""

    def decode_for_user_code(body: bytes, payload_bytes: int) -> Any:
        bounds.count_payload_bytes = lambda: payload_bytes  # type: ignore[assignment]
        return decode(bounds.decode_text(body, {}) if is_text else body)

    return decode_for_user_code


def longest(make: Make) -> Make:
    """Make JSON that is not refused for its values, within 7% of the longest."""

    def find_body(length: int) -> bytes | None:
        body = make(length)
        try:
            bounds._check_json(body.decode())  # noqa: SLF001 - the limit that is tested
        except RequestError:
            return None
        return body

    def make_longest(size: int) -> bytes:
        bounds.count_payload_bytes = lambda: size  # type: ignore[assignment]
        longest_found = find_body(size)
        accepted = size if longest_found else 0
        refused = size
        while refused - accepted > 0.07 * refused:
            middle = (accepted + refused) // 2
            body = find_body(middle)
            if body is None:
                refused = middle
            else:
                longest_found = body
                accepted = middle
        assert longest_found
        return longest_found

    return make_longest


def make_sparse(size: int) -> bytes:
    """Make a sparse matrix whose arrays expand to the limit."""
    count = max(1, (size - 2000) // 16)
    arrays = {name: np.zeros(count, "<i4") for name in ("row", "col")}
    arrays |= {
        "data": np.zeros(count, "<f8"),
        "shape": np.array([9, 9]),
        "format": np.array(b"coo"),
    }
    return save(np.savez_compressed, **arrays)


def make_names(size: int) -> bytes:
    """Make an object of different names."""
    return json.dumps({f"{number}:": 0 for number in range(size // 14)}).encode()


TOOLKIT_FAULTS = inference_toolkit._FAULTS  # noqa: SLF001 - what `decode` makes 400 of
USER_JSON = for_user_code(inference_toolkit.json_to_numpy)
USER_CSV = for_user_code(inference_toolkit.csv_to_numpy)
USER_TFS = for_user_code(predict_requests.decode)
THIRD_CSV = for_user_code(
    lambda body: csv_bodies.decode(bounds.decode_text(body, {}), Table(2, ["a", "b"], text=[0])),
    is_text=False,
)
USER_NPZ = for_user_code(inference_toolkit.npz_to_sparse, is_text=False)
USER_NPY = for_user_code(arrays.load_npy, is_text=False)
USER_LIBSVM = for_user_code(
    lambda body: default_input.decode(body, "text/libsvm", default_input.Taker()), is_text=False
)
USER_LINES = for_user_code(
    lambda body: default_input.decode(body, "application/jsonlines", default_input.Taker()),
    is_text=False,
)

CASES: dict[str, tuple[Decode, Make]] = {
    "user code: JSON of lists": (USER_JSON, filling(b"[],", b"[", b"[]]")),
    "user code: most JSON of lists": (USER_JSON, longest(filling(b"[],", b"[", b"[]]"))),
    "user code: most JSON of integers": (USER_JSON, longest(filling(b"300,", b"[", b"0]"))),
    "user code: most JSON of digits": (USER_JSON, longest(filling(b"0,", b"[", b"0]"))),
    "user code: most JSON of fractions": (USER_JSON, longest(filling(b"0.5,", b"[", b"0]"))),
    "user code: most JSON of objects": (USER_JSON, longest(filling(b'{"a":0},', b"[", b"{}]"))),
    "user code: most JSON of colons": (USER_JSON, longest(filling(b'{"a":":"},', b"[", b"{}]"))),
    "user code: most JSON of names": (USER_JSON, longest(make_names)),
    "user code: most JSON of texts": (USER_JSON, longest(filling(b'"ab",', b"[", b'"a"]'))),
    "user code: most JSON of pairs": (USER_JSON, longest(filling(b"[0,0],", b"[", b"[0,0]]"))),
    "user code: most JSON of one long text": (
        USER_JSON,
        longest(
            lambda size: b'["' + b"a" * (size // 99) + b'",' + b'"",' * (size // 50000) + b"0]"
        ),
    ),
    "user code: most instances": (
        USER_TFS,
        longest(filling(b'{"a":0},', b'{"instances":[', b'{"a":0}]}')),
    ),
    "user code: JSON lines": (USER_LINES, filling(b"1\n")),
    "user code: libsvm of short rows": (USER_LIBSVM, filling(b"1:1\n")),
    "user code: CSV of digits": (USER_CSV, filling(b"0,0,0,0\n")),
    "user code: most CSV of digits": (USER_CSV, lambda size: fill(size // 10, b"0,0,0,0\n")),
    "user code: most CSV of one line": (USER_CSV, lambda size: fill(size // 10, b"0,", b"", b"0")),
    "user code: most CSV of text": (USER_CSV, lambda size: fill(size // 29, b"a,b\n")),
    "third party: most CSV of text": (THIRD_CSV, lambda size: fill(size // 29, b"a,1\n")),
    "third party: CSV of text": (THIRD_CSV, filling(b"a,1\n")),
    "user code: CSV of one long text": (USER_CSV, filling(b"a", b"b\n" * 1000)),
    "user code: CSV of line ends": (USER_CSV, filling(b"\n", b"", b"1")),
    "user code: npz": (USER_NPZ, make_sparse),
    "user code: npz, stored": (USER_NPZ, make_zip(zeros, zipfile.ZIP_STORED)),
    "user code: npy": (USER_NPY, make_npy("<f8", 1)),
}
