"""Decodes and encodes bodies as `sagemaker-inference` does if handlers leave it to the toolkit.

The names and results are the toolkit's, but faster, and nothing is unpickled (SEC-3). Inside the
server this replaces `sagemaker_inference.decoder`, so that handlers that call it are as safe.
scipy, which the original imports, is needed only for sparse bodies.
"""

from __future__ import annotations

import importlib.util
import io
import json
import re
import sys
import types
import warnings
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from container.errors import RequestError
from container.serving.bodies import arrays, media_types
from container.serving.bodies.content_encoding import Expansion
from container.serving.third_party import bounds

ENCODED_TYPES: Final = (media_types.JSON, media_types.CSV, media_types.NPY)
TEXT_TYPES: Final = (media_types.JSON, media_types.CSV)
_INTEGER_CHARACTERS: Final = re.compile(r"[0-9,\n-]+")
_NUMBER_CHARACTERS: Final = re.compile(r"[0-9,.eE\n+-]+")
_FRACTION: Final = re.compile(r"[.eE]")
_LOOK_CHARACTERS: Final = 1_000_000
_FAULTS: Final = (ValueError, TypeError, EOFError, OverflowError, RecursionError, KeyError, OSError)


def decode(obj: Any, content_type: str | None) -> Any:
    """Decode a body: JSON and CSV from str, npy and npz from bytes.

    Raises: RequestError 415 if the content type is none of these, 400 if the body is not of it.
    """
    decoder = _DECODERS.get(content_type or "")
    if decoder is None:
        given = "a request without a content type"
        if content_type:
            given = f"content type {content_type!r}"
        supported = f"supported: {', '.join(_DECODERS)}; others need an input_fn"
        raise RequestError(415, f"{given} is not supported; {supported}")
    try:
        return decoder(obj)
    except RequestError:
        raise
    except _FAULTS as error:
        message = f"the body is not {content_type}: {error}"
        raise RequestError(400, message) from error


def json_to_numpy(string_like: str, dtype: Any = None) -> NDArray[Any]:
    """Decode any JSON value that numpy makes an array of."""
    return np.array(bounds.load_json(string_like), dtype=dtype)


def csv_to_numpy(string_like: str, dtype: Any = None) -> NDArray[Any]:
    """Decode CSV as `numpy.genfromtxt` does.

    Types go by column, one row or one column is a vector, a missing value is NaN.
    """
    if dtype is None:
        array = _parse_numbers(string_like)
        if array is not None:
            return array
    bounds.check_table(string_like)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about an empty body
        return np.genfromtxt(io.StringIO(string_like), dtype=dtype, delimiter=",")


def npy_to_numpy(npy_array: bytes) -> NDArray[Any]:
    """Decode one array that holds no Python objects."""
    header = arrays.read_npy_header(npy_array)  # numpy takes the memory that it promises
    found = len(npy_array) - header.end
    if found < header.promised_bytes:
        message = f"the npy header promises {header.promised_bytes} bytes of data; {found} follow"
        raise RequestError(400, message)
    return np.load(io.BytesIO(npy_array), allow_pickle=False)  # type: ignore[no-any-return]


def npz_to_sparse(npz_bytes: bytes) -> Any:
    """Decode a sparse matrix as scipy writes it.

    Raises: RequestError 415 if scipy, which has the type, is not installed.
    """
    if importlib.util.find_spec("scipy") is None:
        message = f"{media_types.NPZ} needs scipy, which this image lacks; add it to the image"
        raise RequestError(415, message)
    _check_npz(npz_bytes)
    sparse: Any = importlib.import_module("scipy.sparse")
    return sparse.load_npz(io.BytesIO(npz_bytes))


def _check_npz(npz_bytes: bytes) -> None:
    """Check what the arrays of an archive expand to, before any memory is taken (SEC-6)."""
    expansion = Expansion(bounds.count_payload_bytes())
    with arrays.open_npz(npz_bytes, expansion) as archive:
        for member in archive.infolist():
            head = arrays.read_member(archive, member, arrays.NPY_HEADER_BYTES_MAXIMUM)
            header = arrays.read_npy_header(bytes(head))
            if header.promised_bytes > member.file_size:
                message = "an array of the npz file is shorter than its header promises"
                raise RequestError(400, message)


_DECODERS: Final[dict[str, Callable[[Any], Any]]] = {
    media_types.NPY: npy_to_numpy,
    media_types.CSV: csv_to_numpy,
    media_types.JSON: json_to_numpy,
    media_types.NPZ: npz_to_sparse,
}


def encode(array_like: Any, content_type: str) -> str | bytes:
    """Encode a prediction as one of `ENCODED_TYPES`."""
    if content_type == media_types.NPY:
        buffer = io.BytesIO()
        np.save(buffer, array_like, allow_pickle=False)
        return buffer.getvalue()
    if content_type == media_types.CSV:
        stream = io.StringIO()
        np.savetxt(stream, array_like, delimiter=",", fmt="%s")
        return stream.getvalue()
    return json.dumps(array_like, default=_to_list)


def stand_in_for_decoder() -> None:
    """Replace `sagemaker_inference.decoder` by these decoders, if that package is installed."""
    if importlib.util.find_spec("sagemaker_inference") is None:
        return
    package: Any = importlib.import_module("sagemaker_inference")
    module: Any = types.ModuleType("sagemaker_inference.decoder", __doc__)
    module.decode = decode
    vars(module).update(  # the toolkit's names
        _json_to_numpy=json_to_numpy,
        _csv_to_numpy=csv_to_numpy,
        _npy_to_numpy=npy_to_numpy,
        _npz_to_sparse=npz_to_sparse,
        _decoder_map=_DECODERS,
    )
    sys.modules["sagemaker_inference.decoder"] = package.decoder = module


def _parse_numbers(text: str) -> NDArray[Any] | None:
    """Parse what is all integers, or has a fraction in every column; return None for the rest."""
    if not _NUMBER_CHARACTERS.fullmatch(text) or text.count("\n") == len(text):
        return None
    dtype: Any = np.int64
    if not _INTEGER_CHARACTERS.fullmatch(text):
        lines = text.lstrip("\n")[:_LOOK_CHARACTERS].split("\n", 8)[:8]
        rows = [line.split(",") for line in lines]
        columns = zip(*(row for row in rows if len(row) == len(rows[0])), strict=True)
        if not all(any(map(_FRACTION.search, column)) for column in columns):
            return None  # perhaps a column of integers among others: numpy makes a record type
        dtype = np.float64
    table = bounds.parse_table(text, dtype)
    return None if table is None else np.squeeze(table)


def _to_list(array_like: Any) -> Any:
    if hasattr(array_like, "tolist"):
        return array_like.tolist()
    return json.JSONEncoder().default(array_like)
