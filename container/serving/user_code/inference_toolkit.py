"""Decodes and encodes bodies as `sagemaker-inference` does if handlers leave it to the toolkit.

The names and results are the toolkit's, but faster, and nothing is unpickled (SEC-3). Inside the
server this replaces `sagemaker_inference.decoder`, so that handlers that call it are as safe.
scipy, which the original imports, is needed only for sparse bodies.
"""

import csv
import datetime as dt
import importlib.util
import io
import json
import numbers
import re
import sys
import types
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from container.errors import RequestError
from container.serving import charsets
from container.serving.bodies import arrays, media_types
from container.serving.bodies.content_encoding import Expansion
from container.serving.records import csv_rules, json_values
from container.serving.third_party import bounds

ENCODED_TYPES: Final = (media_types.JSON, media_types.CSV, media_types.NPY, media_types.JSON_LINES)
TEXT_TYPES: Final = (media_types.JSON, media_types.CSV)
_INTEGER_CHARACTERS: Final = re.compile(r"[0-9,\n-]+")
_NUMBER_CHARACTERS: Final = re.compile(r"[0-9,.eE\n+-]+")
_ANSWER_KEYS: Final = {"instances": "predictions", "inputs": "outputs"}
_CSV_CELLS: Final = (str, numbers.Real, Decimal, dt.date, np.bool_)
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
        raise RequestError(400, f"the body is not {content_type}: {error}") from error


def json_to_numpy(string_like: str, dtype: Any = None) -> NDArray[Any]:
    """Decode any JSON value that numpy makes an array of."""
    return np.array(bounds.load_json(string_like), dtype=dtype)


def csv_to_numpy(string_like: str, dtype: Any = None) -> NDArray[Any]:
    """Decode CSV: numbers as `numpy.genfromtxt` does, anything else by `csv_rules`.

    One row or one column is a vector. A missing value is NaN, among integers as well, which
    `genfromtxt` turns into -1. Columns of different types are one array: of float64 if all are
    numbers, otherwise of objects.
    """
    array = _parse_numbers(string_like)
    if array is None:
        bounds.check_table(string_like)
        array = np.squeeze(csv_rules.decode(string_like).to_array())
    return array if dtype is None else array.astype(dtype)


def npz_to_sparse(npz_bytes: bytes) -> Any:
    """Decode a sparse matrix as scipy writes it.

    Raises: RequestError 415 if scipy, which has the type, is not installed.
    """
    if importlib.util.find_spec("scipy") is None:
        message = f"{media_types.NPZ} needs scipy, which this image lacks; add it to the image"
        raise RequestError(415, message)
    _check_npz(npz_bytes)
    sparse: Any = importlib.import_module("scipy.sparse")
    matrix = sparse.load_npz(io.BytesIO(npz_bytes))
    if hasattr(matrix, "check_format"):  # scipy reads and writes wherever an index leads
        matrix.check_format(full_check=True)
    return matrix


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
    media_types.NPY: arrays.load_npy,
    media_types.CSV: csv_to_numpy,
    media_types.JSON: json_to_numpy,
    media_types.NPZ: npz_to_sparse,
}


def encode(array_like: Any, content_type: str, form: str = "") -> str | bytes:
    """Encode a prediction as one of `ENCODED_TYPES`, with null in JSON for NaN and infinity.

    `form` is that of the request: `instances` are answered with `predictions` in JSON, `inputs`
    with `outputs`.

    Raises: RequestError 406 if the type cannot hold the prediction.
    """
    if content_type == media_types.NPY:
        buffer = io.BytesIO()
        np.save(buffer, array_like, allow_pickle=False)
        return buffer.getvalue()
    if content_type == media_types.CSV:
        return _encode_csv(array_like)
    if content_type == media_types.JSON_LINES:
        return "".join(f"{json_values.dump(row, _to_list)}\n" for row in _list_rows(array_like))
    if form:
        array_like = {_ANSWER_KEYS[form]: array_like}
    return json_values.dump(array_like, _to_list)


def _list_rows(array_like: Any) -> list[Any]:
    """Return the rows of a prediction, of which JSON lines have one each."""
    values = _to_list(array_like) if hasattr(array_like, "tolist") else array_like
    if isinstance(values, (list, tuple)):
        return list(values)
    return [values]


def _encode_csv(array_like: Any) -> str:
    if isinstance(array_like, np.ma.MaskedArray):  # whose missing values have numbers below
        array_like = np.array(array_like.tolist(), object)
    rows = np.asarray(array_like)
    if rows.dtype.kind not in "OUScm" and rows.ndim in (1, 2):
        stream = io.StringIO()
        np.savetxt(stream, rows, delimiter=",", fmt="%s")
        return stream.getvalue()
    unfit = [cell for cell in rows.flat if cell is not None and not isinstance(cell, _CSV_CELLS)]
    if rows.ndim not in (1, 2) or rows.dtype.kind not in "OU" or unfit:
        found = type(array_like).__name__
        if rows.ndim and unfit:
            found += f" with values of the type {type(unfit[0]).__name__}"
        message = f"a prediction is a {found} that {media_types.CSV} cannot hold; add an output_fn"
        raise RequestError(406, f"{message}, or accept {media_types.JSON} for lists and dicts")
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(map(np.atleast_1d, rows))
    return stream.getvalue()


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
        _npy_to_numpy=arrays.load_npy,
        _npz_to_sparse=npz_to_sparse,
        _decoder_map=_DECODERS,
    )
    sys.modules["sagemaker_inference.decoder"] = package.decoder = module


def _parse_numbers(text: str) -> NDArray[Any] | None:
    """Parse what is all plain numbers and has no blank line; return None for the rest."""
    end = charsets.find_end(text, "\r\n")
    has_blank_line = text.startswith("\n") or text.find("\n\n", 0, end) >= 0
    if has_blank_line or not _NUMBER_CHARACTERS.fullmatch(text):
        return None
    dtype: Any = np.float64
    if _INTEGER_CHARACTERS.fullmatch(text):
        dtype = np.int64
    table = bounds.parse_table(text, dtype)
    return None if table is None else np.squeeze(table)


def _to_list(array_like: Any) -> Any:
    if hasattr(array_like, "tolist"):
        return array_like.tolist()
    return json.JSONEncoder().default(array_like)
