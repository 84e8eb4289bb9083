"""Rows of LIBSVM."""

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
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
        ("1:1 1:5", 2, "row 1 has the index 1 twice"),
        ("2:1.5 1:1 2:nan", 3, "row 1 has the index 2 twice"),
        ("1: :2", 2, "row 1 holds '1:'"),
        ("1:-", 2, "row 1 holds '1:-'"),
    ],
)
def test_fault_names_the_row(text: str, columns: int, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        list(libsvm.decode(text.encode().split(b"\n"), 1, columns))


def test_indexing_is_0_or_1() -> None:
    assert libsvm.read_first_index({"indexing": "0"}) == 0
    with pytest.raises(RequestError, match="0 or 1"):
        libsvm.read_first_index({"indexing": "2"})


NUMBERS = st.sampled_from(
    [
        *("0", "1", "2", "3", "01", "0.5", "-1", "+2", ".5", "5.", "-0.25", "1e2", "1E-3", "nan"),
        *("NaN", "1e400", "9" * 20, "1" * 400, str(2**53 + 1), str(2**63), "", "1_0", "x", "inf"),
        *("1.2.3", "\u0663"),
    ]
)
INDICES = st.sampled_from([*"123", "3", "01", "000000002", "4", "0", "-1", "1.0", "", "9" * 12])
BLANKS = st.sampled_from([" ", " ", "  ", "\t", "\x0b", " \t"])


@st.composite
def rows(draw: st.DrawFn) -> str:
    """Draw a row that is right, or wrong here and there."""
    pairs = draw(st.lists(st.tuples(INDICES, NUMBERS), max_size=2, unique_by=lambda pair: pair[0]))
    words = [f"{index}:{number}" for index, number in pairs]
    words[:0] = draw(st.sampled_from([[], ["1"], ["-1"], ["0.5"], ["x"]]))
    return draw(BLANKS).join(words) + draw(st.sampled_from(["", " ", " # 1:2"]))


@given(rows())
@example("2:1 1:7")
@example("1:2 3:9007199254740993")
def test_row_is_what_each_of_its_pairs_says(row: str) -> None:
    """The oracle looks at each pair by itself, which is three times as slow."""
    line = row.encode()

    def decode(function: Any) -> Any:
        try:
            return function()
        except RequestError as error:
            return str(error)

    quick = decode(lambda: next(libsvm.decode([line], 1, 3)))
    oracle = decode(lambda: libsvm._decode_row(line, 1, 1, 3))  # noqa: SLF001 - the oracle
    if isinstance(quick, str) or isinstance(oracle, str):
        assert quick == oracle
    else:
        np.testing.assert_array_equal(quick, oracle)
