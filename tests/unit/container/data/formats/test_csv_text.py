"""CSV text as people have it: charsets, fields in quotes, and stray quotes."""

from __future__ import annotations

import csv
import io
import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from container.data import loading
from container.data.formats import csv_files
from container.data.formats.parts import Options
from container.errors import UserError

FOUR = "1,2,3,4"


def load(directory: Path, content: bytes, **options: object) -> list[str]:
    """Return the label of each row."""
    (directory / "rows.csv").write_bytes(content)
    loaded = loading.load(directory, Options(**options))  # type: ignore[arg-type]
    return [str(loaded.classes[label]) for label in loaded.labels]


@pytest.mark.parametrize("charset", ["latin-1", "cp1252", "iso-8859-15", "mac-roman", "cp850"])
@pytest.mark.parametrize("header", ["", "label,a,b,c,d\n"])
def test_labels_in_another_charset_name_the_row_and_are_read_if_it_is_set(
    charset: str, header: str, tmp_path: Path
) -> None:
    text = f"{header}cat,{FOUR}\ncafé,{FOUR}\ncafè,{FOUR}\n".encode(charset)
    row = 3 if header else 2
    with pytest.raises(UserError, match=rf"rows\.csv, row {row}: it is not UTF-8.*set charset"):
        load(tmp_path, text)
    assert load(tmp_path, text, charset=charset) == ["cat", "café", "cafè"]
    assert load(tmp_path, text, bad_record_limit=2) == ["cat"]


@pytest.mark.parametrize("charset", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_says_the_charset(charset: str, tmp_path: Path) -> None:
    text = f"label,a,b,c,d\r\ncafé,{FOUR}\r\n猫,{FOUR}\r\n".encode(charset)
    assert load(tmp_path, text) == ["café", "猫"]
    assert load(tmp_path, text, charset="latin-1") == ["café", "猫"]


@pytest.mark.parametrize("charset", ["utf-16-le", "utf-16-be", "shift_jis", "euc-kr"])
def test_a_charset_without_a_mark_has_to_be_named(charset: str, tmp_path: Path) -> None:
    text = f"대,{FOUR}\n나,{FOUR}\n" if charset == "euc-kr" else f"猫,{FOUR}\n犬,{FOUR}\n"
    with pytest.raises(UserError, match="set charset"):
        load(tmp_path, text.encode(charset))
    labels = [line.partition(",")[0] for line in text.splitlines()]
    assert load(tmp_path, text.encode(charset), charset=charset) == labels


def test_text_that_is_not_in_the_charset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"rows\.csv is not text in the charset utf-16"):
        load(tmp_path, f"cat,{FOUR}\n".encode(), charset="utf-16")


def test_forms_of_one_character_are_one_class(tmp_path: Path) -> None:
    assert load(tmp_path, f"caf\u00e9,{FOUR}\ncafe\u0301,{FOUR}\n".encode()) == ["café", "café"]


LABELS = st.text(
    st.sampled_from('ab ,;"é\n\t') | st.characters(codec="utf-8", exclude_categories=["C", "Z"]),
    min_size=1,
    max_size=12,
).map(lambda text: f"x{text}y")


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    labels=st.lists(LABELS, min_size=1, max_size=12),
    form=st.tuples(st.sampled_from(",;\t"), st.integers(0, 4), st.sampled_from([7, 64, 1 << 19])),
)
def test_every_label_comes_back_as_pythons_writer_wrote_it(
    labels: list[str], form: tuple[str, int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    separator, place, block_bytes = form
    monkeypatch.setattr(csv_files, "_BLOCK_BYTES", block_bytes)
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator="\n")
    header = ["p1", "p2", "p3", "p4"]
    writer.writerow([*header[:place], "label", *header[place:]])
    for label in labels:
        writer.writerow([*"1234"[:place], label, *"1234"[place:]])
    expected = [unicodedata.normalize("NFC", label) for label in labels]
    assert load(tmp_path, text.getvalue().encode()) == expected


def test_a_stray_quote_costs_its_own_row_only(tmp_path: Path) -> None:
    text = f'dog,{FOUR}\n"cat,{FOUR}\n5" nail,{FOUR}\nowl,{FOUR}\n'.encode()
    with pytest.raises(UserError, match=r"row 2: 1 columns, expected 5"):
        load(tmp_path, text)
    assert load(tmp_path, text, bad_record_limit=1) == ["dog", '5" nail', "owl"]


@pytest.mark.parametrize("missing", ["", "nan", "NaN", '""', " "])
def test_a_missing_label_is_no_class(missing: str, tmp_path: Path) -> None:
    text = f"7,{FOUR}\n{missing},{FOUR}\n".encode()
    with pytest.raises(UserError, match="row 2, column 1: the label is missing"):
        load(tmp_path, text)
    assert load(tmp_path, text, bad_record_limit=1) == ["7"]


def test_a_row_without_pixels_does_not_shift_the_labels_behind_it(tmp_path: Path) -> None:
    text = f"a,1.0,2,3,4\nb\nc,{FOUR}\n".encode()
    with pytest.raises(UserError, match="row 2: 1 columns, expected 5"):
        load(tmp_path, text)
    assert load(tmp_path, text, bad_record_limit=1) == ["a", "c"]
