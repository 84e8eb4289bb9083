"""Values of JSON and CSV are counted before numpy takes memory for them (SEC-6)."""

import io
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from container.errors import RequestError
from container.serving.third_party import bounds


@pytest.fixture(autouse=True)
def limit() -> Iterator[None]:
    """Set a payload limit of a megabyte, and blocks of 50 characters."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounds, "count_payload_bytes", lambda: 1_000_000)
        patch.setattr(bounds, "_BLOCK_CHARACTERS", 50)
        yield


@pytest.mark.parametrize(
    "text",
    [
        "[" + "0," * 100_000 + "0]",
        "[" + "[]," * 100_000 + "[]]",
        '["' + "a" * 10_000 + '"' + ',"b"' * 1000 + "]",
        '{"instances": [' + '{"a":0},' * 100_000 + "{}]}",
    ],
)
def test_json_of_too_many_values_is_413(text: str) -> None:
    for body in (text, text.encode()):
        with pytest.raises(RequestError, match=r"values of the JSON.*application/x-npy") as caught:
            bounds.load_json(body)
        assert caught.value.status == 413


def test_json_of_one_long_text_and_of_named_numbers_is_parsed() -> None:
    picture = {"instances": [{"b64": "a" * 500_000}]}
    numbers = '{"instances": [' + ",".join(["0.5"] * 5000) + "]}"

    assert bounds.load_json('{"instances": [{"b64": "' + "a" * 500_000 + '"}]}') == picture
    assert bounds.load_json(numbers)["instances"] == [0.5] * 5000


def test_table_of_too_many_cells_is_413() -> None:
    for text in ("a,b\n" * 100_000, "\n" * 1_000_000):
        with pytest.raises(RequestError, match="values of the CSV") as caught:
            bounds.check_table(text)
        assert caught.value.status == 413
    with pytest.raises(RequestError, match="values of the CSV"):
        bounds.parse_table("1,2\n" * 100_000, np.int64)


@pytest.mark.parametrize("blanks", [" " * 500_000, " \t" * 250_000 + "\n", "\r\n"])
def test_blanks_around_a_row_take_nothing(blanks: str) -> None:
    bounds.check_table("a,1\n" + " " * 200_000 + "b,2" + blanks)


@given(st.lists(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=90), max_size=9))
def test_table_in_blocks_is_numpys(rows: list[list[int]]) -> None:
    text = "\n".join(",".join(map(str, row)) for row in rows)
    found = bounds.parse_table(text, np.int64)
    if len({len(row) for row in rows}) > 1:
        assert found is None
    elif rows:
        expected = np.loadtxt(io.StringIO(text), np.int64, delimiter=",", ndmin=2)
        assert found is not None
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("text", ["1,2\n3", "1,,2", "1-2", "1,2\n" * 40 + "1,2,3", "9" * 30])
def test_text_that_is_no_table_of_integers_is_none(text: str) -> None:
    assert bounds.parse_table(text, np.int64) is None


@pytest.mark.parametrize(
    ("rare", "charset", "is_possible"),
    [("a", "utf-8", True), ("é", "latin-1", True), ("é", "utf-8", True), ("中", "utf-16", False),
     ("\N{GRINNING FACE}", "utf-8", False), ("中", "gb18030", False)],
)  # fmt: skip
def test_one_rare_character_in_a_long_text_is_413(
    rare: str, charset: str, is_possible: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SEC-6: it makes each character of the text take two or four bytes."""
    monkeypatch.setattr(bounds, "count_payload_bytes", lambda: 250_000)
    body = (rare + "a" * 200_000).encode(charset)
    if is_possible:
        assert bounds.decode_text(body, {"charset": charset}) == rare + "a" * 200_000
        return
    with pytest.raises(RequestError, match="values of the text") as caught:
        bounds.decode_text(body, {"charset": charset})
    assert caught.value.status == 413
