"""Every body that people send x {bundled model, handler, third-party model} x {CSV, JSON, lines}.

Each answer is right, or a 4xx that says what to send; docs/serving.md has the table. The same
records go through a transform job that joins the answers.
"""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from container.serving.exchange import Request, Response
from container.serving.inference import Inference
from container.serving.server_settings import Settings
from container.serving.third_party.model_application import Found, ModelApplication
from container.serving.third_party.signature import Tensor, Tensors
from container.serving.user_code.application import Application
from local_test.jobs import transform_records, transform_settings
from tests.support import ROOT

ROWS = np.array([[10, 20, 30, 40], [1, 2, 3, 4]], np.uint8)
SHAPE = (2, 2, 1)
LINES = "application/jsonlines"
Invoke = Callable[[Request], Response]


def predict(images: Any) -> Any:
    """Return two numbers for each row of four, which no other row has."""
    rows = np.asarray(images, np.float64).reshape(-1, 4)
    return np.column_stack([rows.sum(axis=1), rows[:, 1]]).astype(np.float32) / 1024


class ThirdParty:
    """A model of pictures or rows."""

    signature = Tensors([Tensor("x", np.dtype(np.float32), (None, *SHAPE))])

    def predict(self, data: Any) -> Any:
        """Predict rows."""
        return self.signature.run(data, lambda feed: {"y": predict(feed["x"])})


def make_servers(directory: Path, *, batch: bool = False) -> dict[str, Invoke]:
    bundled = Inference(
        predict, input_shape=SHAPE, classes=("a", "b"), settings=Settings(batch=batch)
    )
    functions = {"model_fn": lambda _: None, "predict_fn": lambda data, _: predict(data)}
    handler = Application(functions, directory, end_of_line=not batch)
    third = ModelApplication(ThirdParty(), Found("LiteRT", Path(), end_of_line=not batch))
    return {"bundled": bundled.invoke, "handler": handler.invoke, "third": third.invoke}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Invoke]:
    return make_servers(tmp_path_factory.mktemp("model"))


def save(function: Any, *arguments: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    function(stream, *arguments, **options)
    return stream.getvalue()


def draw(row: Any, kind: str = "PNG") -> bytes:
    return save(Image.fromarray(np.uint8(row).reshape(2, 2)).save, format=kind)


def encode_picture(row: Any, kind: str = "PNG") -> dict[str, str]:
    return {"b64": base64.b64encode(draw(row, kind)).decode()}


def write_stream(table: Any, *, as_file: bool = False) -> bytes:
    stream = io.BytesIO()
    make = pa.ipc.new_file if as_file else pa.ipc.new_stream
    with make(stream, table.schema) as writer:
        writer.write_table(table)
    return stream.getvalue()


def form(*parts: tuple[str, bytes]) -> bytes:
    pieces = [b"--b\r\n" + head.encode() + b"\r\n\r\n" + body for head, body in parts]
    return b"\r\n".join([*pieces, b"--b--"])


class Body(NamedTuple):
    """A body of the records of `ROWS`."""

    content_type: str
    body: bytes
    records: int = 2
    refused: tuple[str, ...] = ()
    """The servers that refuse it."""
    advice: str = ""
    """What their refusals say."""


ALL = ("bundled", "handler", "third")
TABLE = pa.table({name: ROWS[:, place] for place, name in enumerate("abcd")})
CSV_TEXT = "10,20,30,40\n1,2,3,4\n"
JSON_ROWS = ROWS.tolist()
JSON_LINES = "".join(f"{json.dumps(row)}\n" for row in JSON_ROWS)
MULTIPART = "multipart/form-data; boundary=b"
NAMED = 'Content-Disposition: form-data; name="x"; filename="{}"'
UNNAMED = 'Content-Disposition: form-data; name="x"'

BODIES: dict[str, Body] = {
    "CSV": Body("text/csv", CSV_TEXT.encode()),
    "CSV, another name": Body("application/csv", CSV_TEXT.encode()),
    "CSV with BOM and CRLF": Body(
        "text/csv", b"\xef\xbb\xbf" + CSV_TEXT.replace("\n", "\r\n").encode()
    ),
    "CSV in UTF-16 by its BOM": Body("text/csv", CSV_TEXT.encode("utf-16")),
    "CSV, quoted": Body("text/csv", b'"10","20","30","40"\n1,2,3,4'),
    "CSV, fractions and integers": Body("text/csv", b"10.0,20,30,40\n1,2,3,4.0"),
    "CSV with a header": Body(
        "text/csv", b"a,b,c,d\n" + CSV_TEXT.encode(), 2, ("third",), "without a header"
    ),
    "CSV with a header of numbers": Body(
        "text/csv; header=present", b"1,2,3,4\n" + CSV_TEXT.encode()
    ),
    "CSV, blank lines at the end": Body("text/csv", CSV_TEXT.encode() + b"\n\n"),
    "CSV, blank line inside": Body("text/csv", b"10,20,30,40\n\n1,2,3,4\n", 2, ALL, "row 2"),
    "CSV, blank line first": Body("text/csv", b"\n10,20,30,40\n1,2,3,4\n", 2, ALL, "row 1"),
    "CSV, CRLF line first": Body("text/csv", b"\r\n10,20,30,40\r\n1,2,3,4\r\n", 2, ALL, "row 1"),
    "CSV, a row too short": Body("text/csv", b"10,20,30,40\n1,2,3\n", 2, ALL, "row 2 has 3"),
    "JSON": Body("application/json", json.dumps(JSON_ROWS).encode()),
    "JSON with BOM": Body("application/json", b"\xef\xbb\xbf" + json.dumps(JSON_ROWS).encode()),
    "JSON, instances": Body("application/json", json.dumps({"instances": JSON_ROWS}).encode()),
    "JSON, inputs": Body("application/json", json.dumps({"inputs": JSON_ROWS}).encode()),
    "JSON, both forms": Body(
        "application/json",
        json.dumps({"instances": JSON_ROWS, "inputs": JSON_ROWS}).encode(),
        2,
        ALL,
        "send one of them",
    ),
    "JSON, both forms of pictures": Body(
        "application/json",
        json.dumps({"instances": [encode_picture(ROWS[0])], "inputs": []}).encode(),
        1,
        ALL,
        "send one of them",
    ),
    "JSON, signature": Body(
        "application/json",
        json.dumps({"signature_name": "serving_default", "instances": JSON_ROWS}).encode(),
    ),
    "JSON, pictures": Body(
        "application/json",
        json.dumps({"instances": [encode_picture(row) for row in ROWS]}).encode(),
    ),
    "JSON, escaped pictures": Body(
        "application/json",
        json.dumps({"instances": [encode_picture(row, "BMP") for row in ROWS]})
        .replace("/", "\\/")
        .encode(),
    ),
    "JSON, pictures under inputs": Body(
        "application/json",
        json.dumps({"inputs": [encode_picture(row) for row in ROWS]}).encode(),
    ),
    "JSON, no base64": Body("application/json", b'{"instances": [{"b64": "%"}]}', 1, ALL, "base64"),
    "JSON lines of pictures": Body(
        LINES, "".join(f"{json.dumps(encode_picture(row))}\n" for row in ROWS).encode()
    ),
    "JSON lines of features": Body(
        LINES, "".join(f"{json.dumps({'features': row})}\n" for row in JSON_ROWS).encode()
    ),
    "JSON lines with BOM": Body(LINES, b"\xef\xbb\xbf" + JSON_LINES.encode()),
    "npy": Body("application/x-npy", save(np.save, ROWS)),
    "npz": Body("application/x-npz", save(np.savez, x=ROWS), 2, ("handler", "third"), "npz"),
    "PNG": Body("image/png", draw(ROWS[0]), 1),
    "BMP": Body("image/bmp", draw(ROWS[0], "BMP"), 1),
    "picture": Body("application/x-image", draw(ROWS[0]), 1),
    "image/jpg that is a PNG": Body("image/jpg", draw(ROWS[0]), 1),
    "GIF": Body("application/x-image", b"GIF89a", 1, ALL, "PNG, JPEG or BMP"),
    "parts by file name": Body(
        MULTIPART,
        form(
            (NAMED.format("a.csv"), b"10,20,30,40\n"),
            (NAMED.format("b.json") + "\r\nContent-Type: application/octet-stream", b"[[1,2,3,4]]"),
        ),
        2,
    ),
    "parts by first bytes": Body(
        MULTIPART, form((UNNAMED, draw(ROWS[0])), (UNNAMED, draw(ROWS[1])))
    ),
    "part without a type": Body(MULTIPART, form((UNNAMED, b"\0\0")), 1, ALL, "part 1"),
    "libsvm": Body("text/libsvm", b"7 1:10 2:20 3:30 4:40\n0 1:1 2:2 3:3 4:4\n"),
    "libsvm from 0": Body("text/libsvm; indexing=0", b"7 0:10 1:20 2:30 3:40\n0:1 1:2 2:3 3:4"),
    "libsvm from 0, not said": Body("text/x-libsvm", b"7 0:10 3:40", 1, ALL, "indexing=0"),
    "Parquet": Body("application/x-parquet", save(lambda file: parquet.write_table(TABLE, file))),
    "Arrow": Body("application/vnd.apache.arrow.stream", write_stream(TABLE)),
    "Arrow file": Body("application/vnd.apache.arrow.file", write_stream(TABLE, as_file=True)),
    "no Parquet": Body("application/x-parquet", b"PAR1", 1, ALL, "not application/x-parquet"),
    "empty": Body("text/csv", b"", 1, ALL, "empty"),
    "another type": Body("application/pdf", b"%PDF", 1, ALL, "supported"),
    **{
        f"JSON lines as {name}": Body(name, JSON_LINES.encode())
        for name in (
            *(LINES, "application/jsonl", "application/x-jsonlines", "application/x-jsonl"),
            *("application/ndjson", "application/x-ndjson"),
        )
    },
}
ANSWERS = ("text/csv", "application/json", LINES, "application/x-ndjson")


def read_rows(server: str, response: Response, answer: str) -> list[list[float]]:
    """Return the numbers of each record of an answer."""
    text = response.body.decode()
    if answer == "text/csv":
        assert response.content_type == "text/csv"
        return [list(map(float, line.split(","))) for line in text.splitlines()]
    if answer == "application/json":
        document = json.loads(text, parse_constant=pytest.fail)
        if isinstance(document, dict):
            key = "outputs" if server == "bundled" or "outputs" in document else "predictions"
            document = document[key]
        return list(document)
    assert response.content_type == LINES
    lines = [json.loads(line, parse_constant=pytest.fail) for line in text.splitlines()]
    return [line["output"] if server == "bundled" else line for line in lines]


PACKED = ("CSV", "JSON", "JSON, pictures", "JSON lines as application/jsonlines", "npy", "libsvm")


@pytest.mark.parametrize("server", ALL)
@pytest.mark.parametrize("name", [*PACKED, "Parquet", "Arrow", "PNG", "parts by first bytes"])
def test_content_encoding_is_undone_or_refused_with_what_is_possible(
    name: str, server: str, servers: dict[str, Invoke]
) -> None:
    content_type, body, records, *_ = BODIES[name]
    headers = {"content-type": content_type, "accept": "text/csv", "content-encoding": "gzip"}
    response = servers[server](Request(gzip.compress(body), headers))
    assert response.status == 200, response.body
    assert np.allclose(read_rows(server, response, "text/csv"), predict(ROWS[:records]))
    for encoding, sent, status in (("gzip", body, 400), ("br", body, 415), ("identity", body, 200)):
        response = servers[server](Request(sent, {**headers, "content-encoding": encoding}))
        assert response.status == status, response.body
    bomb = Request(gzip.compress(bytes(30 << 20)), headers)
    assert servers[server](bomb).status == 413


@pytest.mark.parametrize("server", ALL)
@pytest.mark.parametrize("name", BODIES)
def test_body_is_answered_or_refused_with_what_to_send(
    name: str, server: str, servers: dict[str, Invoke]
) -> None:
    content_type, body, records, refused, advice = BODIES[name]
    for answer in ANSWERS:
        headers = {"content-type": content_type, "accept": answer}
        response = servers[server](Request(body, headers))
        if server in refused:
            assert response.status in (400, 415), response.body
            assert advice in json.loads(response.body)["error"]
            continue
        assert response.status == 200, response.body
        expected = predict(ROWS[:records]).tolist()
        assert read_rows(server, response, answer) == pytest.approx(np.array(expected))


@pytest.mark.parametrize("server", ["handler", "third"])
def test_inputs_are_answered_in_columns_and_instances_in_rows(
    server: str, servers: dict[str, Invoke]
) -> None:
    for form_name, key in (("inputs", "outputs"), ("instances", "predictions")):
        body = json.dumps({form_name: JSON_ROWS}).encode()
        response = servers[server](Request(body, {"content-type": "application/json"}))
        assert list(json.loads(response.body)) == [key]


# Through a transform job

TRANSFORMED = {
    "text/csv": CSV_TEXT * 3,
    LINES: JSON_LINES * 3,
    "application/x-ndjson": "".join(f"{json.dumps({'features': row})}\n" for row in JSON_ROWS) * 3,
}


@pytest.mark.parametrize("strategy", ["MultiRecord", "SingleRecord"])
@pytest.mark.parametrize("content_type", TRANSFORMED)
@pytest.mark.parametrize("server", ALL)
def test_joined_answers_are_in_step_with_their_records(
    server: str, content_type: str, strategy: str, tmp_path: Path
) -> None:
    accept = "text/csv" if content_type == "text/csv" else LINES
    lines = join(make_servers(tmp_path, batch=True)[server], content_type, accept, strategy)
    expected = np.tile(predict(ROWS), (3, 1)).tolist()
    assert len(lines) == 6
    for line, row, numbers in zip(lines, JSON_ROWS * 3, expected, strict=True):
        if accept == "text/csv":
            cells = [float(cell) for cell in next(csv.reader([line]))]
            assert cells == pytest.approx([*row, *numbers])
            continue
        document = json.loads(line)
        output = document["SageMakerOutput"]
        output = output["output"] if server == "bundled" else output
        assert output == pytest.approx(numbers)
        assert row in (document.get("SageMakerInput"), document.get("features"))


def join(invoke: Invoke, content_type: str, accept: str, strategy: str) -> list[str]:
    request = {
        "TransformInput": {"SplitType": "Line", "ContentType": content_type},
        "TransformOutput": {"Accept": accept, "AssembleWith": "Line"},
        "DataProcessing": {"JoinSource": "Input"},
        "BatchStrategy": strategy,
        "MaxPayloadInMB": 1,
    }
    settings = transform_settings.choose_settings(request, {})
    planned = list(
        transform_records.plan_requests(request, TRANSFORMED[content_type].encode(), settings)
    )
    bodies = []
    for plan in planned:
        response = invoke(Request(plan.body, {"content-type": content_type, "accept": accept}))
        assert response.status == 200, response.body
        bodies.append(response.body)
    return transform_records.assemble(request, planned, bodies).decode().splitlines()


def test_header_and_bad_lines_of_a_joined_transform_keep_their_places() -> None:
    """The bundled model answers each line, in its place (BT-9)."""
    settings = Settings(batch=True, placeholders=True)
    model = Inference(predict, input_shape=SHAPE, classes=("a", "b"), settings=settings)
    body = b"a,b,c,d\n10,20,30,40\n\n1,2,3,4\n"
    for parameters in ("", "; header=present"):
        headers = {"content-type": f"text/csv{parameters}", "accept": "text/csv"}
        lines = model.invoke(Request(body, headers)).body.split(b"\n")
        assert [line == b"," for line in lines] == [True, False, True, False]


@pytest.mark.parametrize("server", ALL)
def test_joining_one_document_of_all_rows_says_what_to_accept(server: str, tmp_path: Path) -> None:
    invoke = make_servers(tmp_path, batch=True)[server]
    with pytest.raises(Exception, match=r"--accept application/jsonlines.*SingleRecord"):
        join(invoke, LINES, "application/json", "MultiRecord")


def test_documentation_says_what_each_body_is() -> None:
    text = (ROOT / "docs/serving.md").read_text(encoding="utf-8")
    types = {body.content_type.partition(";")[0] for body in BODIES.values() if body.refused != ALL}
    assert [name for name in sorted(types) if name.split("/")[1] not in text] == []
