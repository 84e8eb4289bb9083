"""CSV by RFC 4180."""

import csv
import io
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from container.errors import RequestError
from container.serving.records import csv_rules

NAN = math.nan


@pytest.mark.parametrize(
    ("text", "names", "rows"),
    [
        ('1,"a, b"\n2,c\n', (), [[1, "a, b"], [2, "c"]]),
        ("1,4\n2,NA\n", (), [[1, 4], [2, NAN]]),
        ("1,2\n,4", (), [[1, 2], [NAN, 4]]),
        ('x,"y\nz"\n1,2', ("x", "y\nz"), [[1, 2]]),
        ("a,b\nc,d", (), [["a", "b"], ["c", "d"]]),
        ("a,b\nc,1", ("a", "b"), [["c", 1]]),
        (",b\n0,1", ("", "b"), [[0, 1]]),
        ("a,a\n0,1", (), [["a", "a"], ["0", "1"]]),
        ("1,null\n2,x", (), [[1, NAN], [2, "x"]]),
        ('""\n1', (), [[NAN], [1]]),
        ("99999999999999999999\n1", (), [[1e20], [1]]),
    ],
)
def test_table_is_read_as_it_is_meant(text: str, names: Any, rows: list[list[Any]]) -> None:
    table = csv_rules.decode(text)
    assert table.names == names
    assert repr(table.to_array().astype(object).tolist()).replace(".0", "") == repr(rows)


def test_header_is_what_the_content_type_says() -> None:
    assert csv_rules.decode("1,2\n3,4", has_header=True).names == ("1", "2")
    assert csv_rules.decode("a,b\n3,4", has_header=False).names == ()
    assert csv_rules.read_header_parameter({"header": "Present"}) is True
    with pytest.raises(RequestError, match="present or absent"):
        csv_rules.read_header_parameter({"header": "yes"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2\n\n3,4", "row 2 is empty"),
        ("\n1,2", "row 1 is empty"),
        ("1,2\n3", "row 2 has 1 columns; the first has 2"),
        ("1,2\n3,4,5", "quotation marks"),
        ('"a', "not text/csv"),
        ("\n", "empty"),
    ],
)
def test_fault_names_the_row(text: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        csv_rules.decode(text)


CELLS = st.text(st.sampled_from('a,"\n1 é'), max_size=4)


@given(st.lists(st.tuples(CELLS, CELLS, st.integers(0, 9)), min_size=1, max_size=5))
def test_no_row_and_no_cell_is_lost(rows: list[tuple[str, str, int]]) -> None:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    table = csv_rules.decode(stream.getvalue(), has_header=False).to_array()
    assert table.shape == (len(rows), 3)
    assert table[:, 2].tolist() == [row[2] for row in rows]
    for place in (0, 1):
        if table.dtype == object and not isinstance(table[0, place], (int, float)):
            kept = [value for value in table[:, place].tolist() if isinstance(value, str)]
            assert kept == [row[place].strip() for row in rows if row[place].strip()]


def test_column_of_numbers_stays_whole() -> None:
    assert csv_rules.make_column(["1", "2"]).dtype == np.int64
    assert csv_rules.make_column(["1", "NA"]).dtype == np.float64
