"""From an object's bytes to requests, and from answers to one output (BT-5 to BT-8, BT-12).

Pure functions: nothing is read, sent or stored here.
"""

import contextlib
import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from container.errors import UserError
from local_test.data import record_formats, unpacking
from local_test.data.record_formats import Record
from local_test.jobs.transform_settings import Settings
from local_test.requests import json_path


@dataclass(frozen=True)
class PlannedRequest:
    """One request, and the records that it holds."""

    body: bytes
    inputs: tuple[bytes, ...]
    """The records before the input filter, for the join."""


def plan_requests(
    request: Mapping[str, Any], body: bytes, settings: Settings
) -> Iterator[PlannedRequest]:
    """Turn an object's bytes into requests: decompress, split, filter, pack (BT-5, BT-7, BT-12).

    Raises: UserError if the object does not have its format, or a record exceeds the limit.
    """
    source = request["TransformInput"]
    if source.get("CompressionType") == "Gzip":
        body = _decompress(body)
    split_type = source.get("SplitType", "None")
    is_packed = split_type != "None" and settings.strategy == "MultiRecord"
    path = json_path.parse(request.get("DataProcessing", {}).get("InputFilter", "$"))
    pending: list[Record] = []
    size_bytes = 0
    for record in record_formats.split(body, split_type):
        sent = record
        if path:
            sent = _filter_record(record, path, source.get("ContentType", ""))
        part = sent.framed if is_packed else sent.payload
        if len(part) > settings.payload_bytes:
            raise UserError(
                f"a record of {len(part)} bytes exceeds MaxPayloadInMB "
                f"{settings.payload_megabytes} (BT-5)"
            )
        is_full = not is_packed or size_bytes + len(part) > settings.payload_bytes
        if pending and is_full:
            yield _plan(pending)
            pending = []
            size_bytes = 0
        pending.append(Record(part, record.payload))
        size_bytes += len(part)
    if pending:
        yield _plan(pending)


def _decompress(body: bytes) -> bytes:
    try:
        return unpacking.decompress_gzip(body)
    except ValueError as error:
        raise UserError(f"the object cannot be decompressed as gzip: {error} (BT-7)") from error


def _plan(pending: Sequence[Record]) -> PlannedRequest:
    body = b"".join(record.framed for record in pending)
    return PlannedRequest(body, tuple(record.payload for record in pending))


def _filter_record(record: Record, path: list[json_path.Step], content_type: str) -> Record:
    payload = _encode(json_path.select(_decode(record.payload, content_type), path), content_type)
    return Record(payload + record.framed[len(record.payload) :], payload)


def _is_csv(content_type: str) -> bool:
    return content_type.split(";", maxsplit=1)[0].strip().lower() == "text/csv"


def _decode(payload: bytes, content_type: str) -> Any:
    """Read a record for a filter or join: a CSV line as a list of texts, else JSON."""
    if _is_csv(content_type):
        return _read_row(payload)
    text = payload.decode("utf-8", "replace").rstrip("\r\n")
    try:
        return record_formats.read_json(payload)
    except (ValueError, RecursionError) as error:
        message = f"a filtered or joined record must be JSON, found {text[:80]!r}: {error} (BT-12)"
        if text[:1] not in ("{", "["):
            message += "; where records and answers are CSV, set --accept text/csv"
        raise UserError(message) from error


def _read_row(payload: bytes, charset: str = "utf-8") -> list[str]:
    """Read a record of CSV. Raises: UserError if it is not one row, or not in the charset."""
    wanted = f"a filtered or joined record must be one row of CSV, found {payload[:80]!r}"
    try:
        text = payload.decode(charset).rstrip("\r\n")
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{wanted}: {error} (BT-12)") from error
    if len(rows) > 1:
        raise UserError(f"{wanted}: {len(rows)} rows (BT-12)")
    return rows[0] if rows else []


def _encode(value: Any, content_type: str) -> bytes:
    if not _is_csv(content_type):
        return json.dumps(value, separators=(",", ":")).encode()
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow(value if isinstance(value, list) else [value])
    return buffer.getvalue().encode()


def assemble(
    request: Mapping[str, Any], planned: Sequence[PlannedRequest], bodies: Sequence[bytes]
) -> bytes:
    """Join the answers of one object, in the order of its records (BT-8, BT-12).

    Raises: UserError if records are joined and there is not one answer for each.
    """
    processing = request.get("DataProcessing", {})
    path = json_path.parse(processing.get("OutputFilter", "$"))
    is_joined = processing.get("JoinSource", "None") == "Input"
    target = request["TransformOutput"]
    end = b"\n" if target.get("AssembleWith") == "Line" else b""
    if not is_joined and not path:
        return b"".join(body + end for body in bodies)
    content_type = target.get("Accept") or request["TransformInput"].get("ContentType", "")
    finish = _finish_csv if _is_csv(content_type) else _finish_json
    lines = []
    for plan, body in zip(planned, bodies, strict=True):
        answers = _split_answer(body, len(plan.inputs))
        for source, answer in zip(plan.inputs, answers, strict=True):
            lines.append(finish(source if is_joined else None, answer, path) + end)
    return b"".join(lines)


def _split_answer(body: bytes, count: int) -> list[bytes]:
    if count == 1:
        return [body.rstrip(b"\n")]
    answers = [record.payload for record in record_formats.split_lines(body)]
    if _is_document(body):  # of any number of lines
        answers = [body]
    if len(answers) != count:
        raise UserError(
            f"sent {count} records, got back {len(answers)}; "
            f"they cannot be joined or filtered one by one (BT-9): {_advise(body, len(answers))}"
        )
    return answers


def _is_document(body: bytes) -> bool:
    with contextlib.suppress(ValueError, RecursionError):
        return isinstance(json.loads(body), (dict, list))
    return False


def _advise(body: bytes, answers: int) -> str:
    """Say how a model answers each record on a line of its own."""
    remedy = "; or send one record at a time (--strategy SingleRecord, BatchStrategy)"
    if answers == 1 and _is_document(body):
        lines = "--accept application/jsonlines or --accept text/csv"
        return f"the model answers all rows in one JSON document; ask for lines: {lines}{remedy}"
    return f"a header, a blank line or a record over several lines has no answer of its own{remedy}"


def _finish_csv(source: bytes | None, answer: bytes, path: list[json_path.Step]) -> bytes:
    """Join an answer with its record, if there is one, then filter."""
    if source is not None:
        for part in (source, answer):
            if b"\n" in part:
                _read_row(part, "latin-1")  # which takes any byte
        answer = source.rstrip(b"\r") + b"," + answer
    if not path:
        return answer
    return _encode(json_path.select(_decode(answer, "text/csv"), path), "text/csv")


def _finish_json(source: bytes | None, answer: bytes, path: list[json_path.Step]) -> bytes:
    """Join an answer with its record, if there is one, then filter."""
    value = _decode(answer, "application/json")
    if source is not None:
        original = _decode(source, "application/json")
        joined = original if isinstance(original, dict) else {"SageMakerInput": original}
        if "SageMakerOutput" in joined:
            raise UserError(
                f"the record {source[:80]!r} has a field SageMakerOutput, which the join would "
                "replace; rename it, or filter it out (BT-12)"
            )
        value = {**joined, "SageMakerOutput": value}
    return _encode(json_path.select(value, path), "application/json")
