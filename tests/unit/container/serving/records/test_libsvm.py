"""Rows of LIBSVM."""

import io

import numpy as np
import pytest
from sklearn.datasets import dump_svmlight_file

from container.errors import RequestError
from container.serving.records import libsvm


@pytest.mark.parametrize("first_index", [0, 1])
def test_rows_are_those_that_scikit_learn_wrote(first_index: int) -> None:
    rows = np.array([[0, 1.5, 0, -2e-3], [4, 0, 0, 0]])
    stream = io.BytesIO()
    dump_svmlight_file(rows, [1, 0], stream, zero_based=first_index == 0)
    got = list(libsvm.decode(stream.getvalue().splitlines(), first_index, 4))
    assert np.array_equal(got, rows)


def test_highest_index_counts_the_columns_of_an_unknown_model() -> None:
    body = b"1:5 # note\n0 3:7"
    assert libsvm.count_columns(body, 1) == 3
    rows = [row.tolist() for row in libsvm.decode(body.split(b"\n"), 1, 3)]
    assert rows == [[5, 0, 0], [0, 0, 7]]
    with pytest.raises(RequestError, match="at most"):
        libsvm.count_columns(b"999999999:1", 1)


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("0:1", 2, "indexing=0"),
        ("1:1\n3:1", 2, "row 2 has the index 3; 1 to 2"),
        ("1 x:1", 2, "row 1 holds 'x:1'"),
        ("1:1\n\n1:1", 2, "row 2 is empty"),
        ("1:1.2.3", 2, "not a number"),
        ("", 2, "empty"),
        ("1:1 1:1 1:1", 2, "longer than 2 values"),
        ("1" * 9000, 2, "longer than 2 values"),
    ],
)
def test_fault_names_the_row(text: str, columns: int, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        list(libsvm.decode(text.encode().split(b"\n"), 1, columns))


def test_indexing_is_0_or_1() -> None:
    assert libsvm.read_first_index({"indexing": "0"}) == 0
    with pytest.raises(RequestError, match="0 or 1"):
        libsvm.read_first_index({"indexing": "2"})
