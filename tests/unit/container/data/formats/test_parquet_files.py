"""Parquet in the layout of Hugging Face."""

from __future__ import annotations

import builtins
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from container.data import loading
from container.data.formats.parts import Options
from container.errors import PlatformError, UserError

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 3), np.uint8)


def encode(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def write(path: Path, columns: dict[str, Any], names: list[str] | None = None) -> None:
    table = pa.table(columns)
    if names:
        features = {"label": {"names": names, "_type": "ClassLabel"}, "image": {"_type": "Image"}}
        document = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": document})
    parquet.write_table(table, path, row_group_size=4)


def make_structs() -> list[dict[str, Any]]:
    return [{"bytes": encode(image), "path": f"{n}.png"} for n, image in enumerate(IMAGES)]


def test_numbers_become_the_names_of_their_classes(tmp_path: Path) -> None:
    columns = {"image": make_structs(), "label": [1, 0, 1, 2, 0, 2]}
    write(tmp_path / "train-00000-of-00001.parquet", columns, ["dog", "cat", "bird"])
    loaded = loading.load(tmp_path)
    assert np.array_equal(loaded.images, IMAGES)
    assert [loaded.classes[label] for label in loaded.labels] == [
        *("cat", "dog", "cat", "bird", "dog", "bird")
    ]


@pytest.mark.parametrize(
    ("image", "label"), [("img", "fine_label"), ("picture", "class"), ("photo", "label")]
)
def test_columns_of_other_names_and_plain_bytes_are_found(
    image: str, label: str, tmp_path: Path
) -> None:
    contents = [encode(picture) for picture in IMAGES]
    write(tmp_path / "a.parquet", {"id": ["x"] * 6, image: contents, label: list("ababab")})
    loaded = loading.load(tmp_path)
    assert loaded.classes == ("a", "b")
    assert np.array_equal(loaded.images, IMAGES)


def test_the_column_of_labels_may_be_named(tmp_path: Path) -> None:
    columns = {"image": make_structs(), "label": [0] * 6, "coarse": [0, 1, 2] * 2}
    write(tmp_path / "a.parquet", columns)
    assert loading.load(tmp_path, Options(label_column="coarse")).classes == (0, 1, 2)


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"image": make_structs(), "text": ["a"] * 6}, "no column of labels.*image, text"),
        ({"image": [1] * 6, "label": [1] * 6}, "no column of pictures.*image, label"),
    ],
)
def test_a_missing_column_is_named(columns: dict[str, Any], reason: str, tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", columns)
    with pytest.raises(UserError, match=reason):
        loading.load(tmp_path)


def test_rows_that_cannot_be_read_are_named_or_skipped(tmp_path: Path) -> None:
    pictures = make_structs()
    pictures[1]["bytes"] = None
    pictures[2]["bytes"] = pictures[2]["bytes"][:-20]
    write(tmp_path / "a.parquet", {"image": pictures, "label": [0, 1, 1, -1, 0, None]}, ["a", "b"])
    with pytest.raises(UserError, match=r"a\.parquet, row 1: it holds no picture"):
        loading.load(tmp_path)
    loaded = loading.load(tmp_path, Options(bad_record_limit=9))
    assert np.array_equal(loaded.images, IMAGES[[0, 4]])
    assert sorted(fault.split(", ")[1].partition(":")[0] for fault in loaded.rejected) == [
        *("row 1", "row 2", "row 3", "row 5")
    ]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write(path, {"image": make_structs(), "label": [0, 1] * 3})
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match=r"a\.parquet cannot be read"):
        loading.load(tmp_path)


def test_without_pyarrow_the_line_to_add_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a.parquet", {"image": make_structs(), "label": [0, 1] * 3})
    real = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        if name == "pyarrow":
            raise ModuleNotFoundError(name="pyarrow")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(PlatformError, match=r"add the line `RUN pip install .*pyarrow`"):
        loading.load(tmp_path)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ([b"a", b"b", b"a", b"b", b"caf\xe9", b"a"], r"row 4: its label b'caf\xe9' is not utf-8"),
        ([["a"], ["b"], [], ["a"], ["b"], ["a"]], r"label \['a'\] is not a single number or text"),
        ([0, 1, None, 0, 1, 0], "row 2: the label is missing"),
    ],
)
def test_labels_that_are_not_one_text_or_number_are_faults(
    labels: list[Any], reason: str, tmp_path: Path
) -> None:
    write(tmp_path / "a.parquet", {"image": make_structs(), "label": labels})
    with pytest.raises(UserError, match=reason.replace("\\xe9", r"\\xe9")):
        loading.load(tmp_path)


def test_labels_may_be_bytes_or_the_names_of_the_classes_and_columns_are_counted(
    tmp_path: Path,
) -> None:
    columns = {"image": make_structs(), "label": ["a", "b"] * 3, "mask": ["x"] * 6}
    write(tmp_path / "a.parquet", columns, ["a", "b"])
    loaded = loading.load(tmp_path)
    assert loaded.classes == ("a", "b")
    assert loaded.notes == (f"passed over 1 columns of {tmp_path}/a.parquet: mask",)
    write(tmp_path / "a.parquet", {"image": make_structs(), "label": [b"caf\xe9", b"b"] * 3})
    assert loading.load(tmp_path, Options(charset="latin-1")).classes == ("b", "café")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_labels_are_written_as_their_own_type_writes_them(dtype: type, tmp_path: Path) -> None:
    labels = pa.array(np.array([0.1, 0.7] * 3, dtype))
    write(tmp_path / "a.parquet", {"image": make_structs(), "label": labels})
    assert loading.load(tmp_path).classes == ("0.1", "0.7")


def test_text_that_is_not_utf_8_asks_for_its_charset(tmp_path: Path) -> None:
    names = ["caf\xe9", "caf\xe8"] * 3
    text = pa.array([name.encode("latin-1") for name in names], pa.binary()).view(pa.string())
    write(tmp_path / "a.parquet", {"image": make_structs(), "label": text})
    with pytest.raises(UserError, match=r"row 0: its label b'caf\\xe9' is not utf-8; set charset"):
        loading.load(tmp_path)
    loaded = loading.load(tmp_path, Options(charset="latin-1"))
    assert [loaded.classes[label] for label in loaded.labels] == names
