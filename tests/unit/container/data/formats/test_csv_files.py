"""`container.data.loading`: what CSV text becomes, and what the errors name."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from container.data import loading
from container.data.formats import csv_files as csv_rows
from container.data.formats.parts import Options
from container.errors import UserError

FOUR = "1,2,3,4"


def write(directory: Path, text: str | bytes, name: str = "rows.csv") -> Path:
    data = text.encode() if isinstance(text, str) else text
    (directory / name).parent.mkdir(parents=True, exist_ok=True)
    (directory / name).write_bytes(data)
    return directory


@pytest.mark.parametrize(
    "text",
    [
        "7,0,10,255,9\n8,1,2,3,4\n",
        "7,0,10,255,9\n8,1,2,3,4",
        "label,a,b,c,d\n7,0,10,255,9\n8,1,2,3,4\n",
        "label,0,1,2,3\n7,0,10,255,9\n8,1,2,3,4\n",
        "\ufefflabel,a,b,c,d\r\n7,0,10,255,9\r\n8,1,2,3,4\r\n",
        "a,b,label,c,d\n0,10,7,255,9\n1,2,8,3,4\n",
        "a,b,c,d,label\n0,10,255,9,7\n1,2,3,4,8\n",
        '"label","a","b","c","d"\n"7","0","10","255","9"\n"8","1","2","3","4"\n',
        "7;0;10;255;9\n8;1;2;3;4\n",
        "7\t0\t10\t255\t9\n8\t1\t2\t3\t4\n",
        "7.0,0.0,10.0,255.0,9.0\n8.0,1.0,2.0,3.0,4.0\n",
        "7, 0, 10, 255, 9\n8, 1, 2, 3, 4\n",
        "\n\n7,0,10,255,9\n\n8,1,2,3,4\n\n",
        "7,000,010,255,9\n8,1,2,3,4\n",
        "digit,a1,b2,c3,d4\n7,0,10,255,9\n8,1,2,3,4\n",
    ],
)
def test_csv_dialects_give_the_same_images(text: str, tmp_path: Path) -> None:
    loaded = loading.load(write(tmp_path, text))
    assert loaded.images.dtype == np.uint8
    assert loaded.images[..., 0].tolist() == [[[0, 10], [255, 9]], [[1, 2], [3, 4]]]
    assert loaded.labels.dtype == np.int32
    assert loaded.labels.tolist() == [0, 1]
    assert loaded.classes == (7, 8)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rows=st.lists(st.lists(st.integers(0, 255), min_size=10, max_size=10), min_size=1, max_size=30),
    chunk_bytes=st.integers(1, 400),
)
def test_every_value_is_read_as_written_wherever_the_text_is_cut(
    rows: list[list[int]], chunk_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_rows, "_BLOCK_BYTES", chunk_bytes)
    loaded = loading.load(write(tmp_path, "".join(",".join(map(str, row)) + "\n" for row in rows)))
    assert loaded.images.reshape(len(rows), 9).tolist() == [row[1:] for row in rows]
    assert [loaded.classes[label] for label in loaded.labels] == [row[0] for row in rows]


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["b", "a", "b"], ("a", "b")),
        (["10", "9", "300"], (9, 10, 300)),
        (["-1", "1", "1"], (-1, 1)),
        (["007", "8", "8.0"], ("007", "8", "8.0")),
        (["007", "7", "8.0"], ("007", "7", "8.0")),
        (["7", "007", "7"], ("007", "7")),
        (["9007199254740993", "9007199254740992"], (9007199254740992, 9007199254740993)),
        (["1e30", "2"], ("1e30", "2")),
        (["1_0", "7", "7"], ("1_0", "7")),
        (["1.0", "2", "2.0"], (1, 2)),
        (["1.5", "2", "2"], ("1.5", "2")),
        (["cat", "3", "3"], ("3", "cat")),
        (["ÄÖ ü", "x", "x"], ("x", "ÄÖ ü")),
    ],
)
def test_labels_are_integers_if_all_are_and_text_otherwise(
    labels: list[str], classes: tuple[int | str, ...], tmp_path: Path
) -> None:
    loaded = loading.load(write(tmp_path, "".join(f"{label},{FOUR}\n" for label in labels)))
    assert loaded.classes == classes
    assert [type(name) for name in loaded.classes] == [type(name) for name in classes]


def test_many_files_plain_and_gzip_in_subdirectories_are_read_in_the_order_of_their_names(
    tmp_path: Path,
) -> None:
    write(tmp_path, f"label,a,b,c,d\n1,{FOUR}\n", "b/second.csv")
    write(tmp_path, gzip.compress(f"0,{FOUR}\n".encode()), "a/first.csv.gz")
    write(tmp_path, f"2,{FOUR}\n", "c.CSV")
    assert loading.load(tmp_path).labels.tolist() == [0, 1, 2]


def test_hidden_and_empty_files_and_foreign_ones_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path, f"0,{FOUR}\n1,{FOUR}\n")
    write(tmp_path, "no,csv\n", ".hidden.csv")
    write(tmp_path, "no,csv\n", ".ipynb_checkpoints/rows.csv")
    write(tmp_path, "", "empty.csv")
    write(tmp_path, "read me", "README.txt")
    assert len(loading.load(tmp_path).labels) == 2


def test_image_shape_puts_channels_last(tmp_path: Path) -> None:
    loaded = loading.load(write(tmp_path, "0,1,2,3,4,5,6\n"), Options(image_shape=(1, 2, 3)))
    assert loaded.images.tolist() == [[[[1, 2, 3], [4, 5, 6]]]]


def test_given_classes_are_kept_and_agree_as_text(tmp_path: Path) -> None:
    loaded = loading.load(write(tmp_path, f"3,{FOUR}\n"), Options(classes=("1", "3", "x")))
    assert loaded.classes == ("1", "3", "x")
    assert loaded.labels.tolist() == [1]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (f"3,{FOUR}\n3,{FOUR},9\n", ["row 2", "6 columns, expected 5"]),
        (f"3,{FOUR}\n3,1,2\n", ["row 2", "3 columns, expected 5"]),
        (f"3,{FOUR}\n3,1,2\n3,1,2,3,4,5,6\n", ["row 2", "row 3"]),
        (f"3,{FOUR}\n3,1,2,x7,4\n", ["row 2, column 4", "'x7'", "whole number from 0 to 255"]),
        (f"label,a,b,c,d\n3,{FOUR}\n3,1,2,x7,4\n", ["row 3, column 4 (c)", "'x7'"]),
        (f"3,{FOUR}\n3,256,2,3,4\n", ["row 2, column 2", "'256'"]),
        (f"3,{FOUR}\n3,999,2,3,4\n", ["row 2, column 2", "'999'"]),
        (f"3,{FOUR}\n3,1000,2,3,4\n", ["row 2, column 2", "'1000'"]),
        (f"3,{FOUR}\n3,-1,2,3,4\n", ["row 2, column 2", "'-1'"]),
        (f"3,{FOUR}\n3,nan,2,3,4\n", ["row 2, column 2", "'nan'"]),
        (f"3,{FOUR}\n3,0.5,2,3,4\n", ["row 2, column 2", "'0.5'"]),
        (f"3,{FOUR}\n3,,2,3,4\n", ["row 2, column 2", "''"]),
        (f"3,{FOUR}\n,1,2,3,4\n", ["row 2, column 1", "the label is missing"]),
        ("label,a,b,c,d\n", ["holds no rows", "header"]),
        ("1,2,3\n", ["2 pixels", "not a square", "image_shape"]),
        ("1\n2\n", ["1 column", "separated by commas"]),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00", ["rows.csv"]),
        ("a1,a2,a3,a4,target\n1,2,3,4,5\n", ["no column 'label'", "target", "label_column"]),
    ],
)
def test_faults_name_file_row_and_column(
    text: str | bytes, parts: list[str], tmp_path: Path
) -> None:
    with pytest.raises(UserError) as caught:
        loading.load(write(tmp_path, text))
    for part in [*parts, str(tmp_path)]:
        assert part in str(caught.value)


@pytest.mark.parametrize("cell", [r'"say \"x\""', '"a" "b"', '"a"b'])
@pytest.mark.parametrize("column", [0, -1])
def test_text_after_a_closing_quote_is_a_fault(cell: str, column: int, tmp_path: Path) -> None:
    rows = [["dog", "1"], [cell, "2"], ["dog", "3"], ['"cat ""x""" ', "4"]]
    (tmp_path / "a.csv").write_text(
        "".join(f"{','.join(row[:: -1 if column else 1])}\n" for row in rows)
    )
    options = Options(label_column="last" if column else "first", bad_record_limit=1)
    loaded = loading.load(tmp_path, options)
    assert loaded.classes == ('cat "x"', "dog")
    [fault] = loaded.rejected
    assert fault.endswith(
        'row 2: text follows a closing quote; within quotes, write two: "say ""x"""'
    )


def test_a_wrong_label_column_fails_and_shows_the_columns(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"no column 'class': its 5 columns are label, a, b, c, ... d"
    ):
        loading.load(write(tmp_path, f"label,a,b,c,d\n1,{FOUR}\n"), Options(label_column="class"))


def test_a_wrong_image_shape_tells_both_counts(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has 4 pixels per row; image_shape=\[3, 3, 1\] needs 9"):
        loading.load(write(tmp_path, f"1,{FOUR}\n"), Options(image_shape=(3, 3, 1)))


def test_an_unknown_label_names_file_and_row(tmp_path: Path) -> None:
    write(tmp_path, f"label,a,b,c,d\n1,{FOUR}\n2,{FOUR}\n", "a.csv")
    write(tmp_path, f"1,{FOUR}\n77,{FOUR}\n", "b.csv")
    with pytest.raises(
        UserError, match=r"b\.csv, row 2: .*not one of the 2 classes 1, 2; unknown labels: '77'"
    ):
        loading.load(tmp_path, Options(classes=(1, 2)))


def test_files_of_different_widths_are_told_apart(tmp_path: Path) -> None:
    write(tmp_path, f"1,{FOUR}\n", "a.csv")
    write(tmp_path, f"1,{FOUR},5\n", "b.csv")
    with pytest.raises(UserError, match=r"b\.csv has 6 columns, .*a\.csv has 5"):
        loading.load(tmp_path)


def test_a_cut_gzip_file_is_named(tmp_path: Path) -> None:
    write(tmp_path, gzip.compress(f"1,{FOUR}\n".encode() * 100)[:-20], "cut.csv.gz")
    with pytest.raises(UserError, match=r"cut\.csv\.gz cannot be read"):
        loading.load(tmp_path)


@pytest.mark.parametrize("name", [None, "notes.txt", ".hidden.csv"])
def test_a_directory_without_csv_says_what_it_holds(name: str | None, tmp_path: Path) -> None:
    if name:
        write(tmp_path, "text", name)
    with pytest.raises(UserError, match="holds no labeled images") as caught:
        loading.load(tmp_path)
    assert ("notes.txt" in str(caught.value)) == (name == "notes.txt")


def test_a_directory_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent does not exist"):
        loading.load(tmp_path / "absent")
