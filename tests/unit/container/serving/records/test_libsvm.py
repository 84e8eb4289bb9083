"""Rows of LIBSVM."""

import io
from typing import Any

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
    got = list(libsvm.decode(stream.getvalue().decode(), first_index, 4))
    assert np.array_equal(got, rows)


def test_highest_index_counts_the_columns_of_an_unknown_model() -> None:
    assert [row.tolist() for row in libsvm.decode("1:5 # note\n0 3:7")] == [[5, 0, 0], [0, 0, 7]]


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("0:1", 2, "indexing=0"),
        ("1:1\n3:1", 2, "row 2 has the index 3; 1 to 2"),
        ("1 x:1", 2, "row 1 holds 'x:1'"),
        ("1:1\n\n1:1", 2, "row 2 is empty"),
        ("1:1.2.3", 2, "not a number"),
        ("", 2, "empty"),
        ("999999999:1", None, "at most"),
    ],
)
def test_fault_names_the_row(text: str, columns: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        list(libsvm.decode(text, 1, columns))


def test_indexing_is_0_or_1() -> None:
    assert libsvm.read_first_index({"indexing": "0"}) == 0
    with pytest.raises(RequestError, match="0 or 1"):
        libsvm.read_first_index({"indexing": "2"})
