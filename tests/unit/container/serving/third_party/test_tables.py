"""Rows and columns for models of tables, from JSON and CSV."""

from typing import Any

import numpy as np
import pytest

from container.errors import RequestError
from container.serving.third_party import csv_bodies, kinds, predict_requests
from container.serving.third_party.signature import TEXT, Tensor, Tensors
from container.serving.third_party.tables import Table

NAMED = Table(3, ["age", "city", "income"], text=[1])
NUMBERS = Table(2, ["a", "b"])
UNNAMED = Table(2)


def read_csv(text: str, table: Table) -> list[list[Any]]:
    return [column.tolist() for column in table.to_columns(csv_bodies.decode(text, table))]


@pytest.mark.parametrize(
    "text",
    [
        'age,city,income\n1,01234,2.5\n2,"a,b",3\n',
        'income,age,city\r\n2.5,1,01234\r\n3,2,"a,b"\r\n',
        '"city",income,age\n01234,2.5,1\n"a,b",3,2\n\n',
        '1,01234,2.5\n2,"a,b",3\n',
    ],
)
def test_csv_with_or_without_a_header_gives_the_models_columns(text: str) -> None:
    assert read_csv(text, NAMED) == [[1, 2], ["01234", "a,b"], [2.5, 3]]


def test_missing_values_are_nan_and_none() -> None:
    [age, city, income] = read_csv("age,city,income\n,,\nNA,null,1\n2,x,NaN\n", NAMED)
    assert np.isnan(age[:2]).all()
    assert age[2] == 2
    assert city == [None, None, "x"]
    assert np.isnan([income[0], income[2]]).all()
    assert np.isnan(UNNAMED.to_matrix(np.array([[1, None]], object))[0, 1])


@pytest.mark.parametrize(
    ("text", "table", "message"),
    [
        ("age,town,income\n1,x,2\n", NAMED, "the column 'city' is missing; .* no column 'town'"),
        ("age,city\n1,x\n", NAMED, "the column 'income' is missing"),
        ("age,city,income,id\n1,x,2,3\n", NAMED, "the model has no column 'id'"),
        ("x,y,z\n1,x,2\n", NAMED, "'age', 'city', 'income' is missing"),
        ("age,city,age\n1,x,2\n", NAMED, "'age' occur twice"),
        ("age,city,income\n1,x,2\n1,x\n", NAMED, "row 3 has 2 values; expected 3"),
        ("age,city,income\n1,x,rich\n", NAMED, "the column 'income' holds 'rich' in row 1"),
        ("age,city,income\n", NAMED, "a header and no row"),
        ("1,2,3,4\n", NAMED, r"shape \[1, 4\]; \['n', 3\] is expected: age, city, income"),
        ("1,x\n", UNNAMED, "column 2 holds 'x' in row 1"),
        ("a,b\n1,2\n", UNNAMED, "rows are sent without a header"),
        ("1_0,2\n", UNNAMED, "column 1 holds '1_0'"),
    ],
)
def test_csv_that_does_not_fit_is_the_clients_fault(text: str, table: Table, message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        read_csv(text, table)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "body",
    [
        '[{"b": 2, "a": 1}, {"a": 3, "b": 4}]',
        '{"instances": [[1, 2], [3, 4]]}',
        '{"inputs": {"b": [2, 4], "a": [[1], [3]]}}',
        '{"dataframe_split": {"index": [0, 1], "columns": ["b", "a"], "data": [[2, 1], [4, 3]]}}',
        '{"dataframe_split": {"data": [[1, 2], [3, 4]]}}',
        '{"dataframe_records": [{"a": 1, "b": 2}, {"a": 3, "b": 4}]}',
    ],
)
def test_rows_of_json_come_in_the_order_of_the_model(body: str) -> None:
    assert NUMBERS.to_matrix(predict_requests.decode(body).data).tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("body", "table", "message"),
    [
        ('[{"a": 1}]', NUMBERS, "the column 'b' is missing; it takes 'a', 'b'"),
        ('[{"a": 1, "b": 2, "c": 3}]', NUMBERS, "the model has no column 'c'"),
        ('[{"a": "x", "b": 2}]', NUMBERS, "the column 'a' holds 'x' in row 1; it takes numbers"),
        ('{"inputs": {"a": [1, 2], "b": [1]}}', NUMBERS, "different lengths: .*'a': 2, 'b': 1"),
        ('{"inputs": {"a": [[1, 2]], "b": [1]}}', NUMBERS, r"'a' has the shape \[1, 2\]"),
        ("[[1, 2, 3]]", NUMBERS, r"shape \[1, 3\]; \['n', 2\] is expected: a, b"),
        ("[[[1, 2]]]", NUMBERS, r"shape \[1, 1, 2\]"),
        ('[{"a": 1, "b": 2}]', UNNAMED, "columns have no names; send rows of 2 values"),
        ('[["x", 2]]', UNNAMED, "column 1 holds 'x' in row 1"),
    ],
)
def test_json_that_does_not_fit_is_the_clients_fault(body: str, table: Table, message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        table.to_matrix(predict_requests.decode(body).data)
    assert caught.value.status == 400


def test_one_row_or_one_column_may_come_flat() -> None:
    assert UNNAMED.to_matrix(np.array([1, 2])).tolist() == [[1, 2]]
    assert Table(1).to_matrix(np.array([1, 2])).tolist() == [[1], [2]]


def test_booleans_of_csv_are_what_they_are_in_json() -> None:
    table = Table(2, ["a", "b"], inferred=True)
    [a, b] = table.to_columns(csv_bodies.decode("True,TRUE\nFalse,\n", table))
    assert a.tolist() == [True, False]
    np.testing.assert_array_equal(b, [1, np.nan])
    assert NUMBERS.to_matrix(csv_bodies.decode("b,a\n2,true\n", NUMBERS)).tolist() == [[1, 2]]
    assert read_csv("1,True,2\n", NAMED) == [[1], ["True"], [2]]


def test_tensor_takes_no_empty_cell_and_text_as_it_is() -> None:
    tensors = Tensors([Tensor("n", np.dtype(np.float32), (None,)), Tensor("s", TEXT, (None,))])
    data = csv_bodies.decode("s,n\nnone,NaN\n,2\n", tensors)
    assert tensors.bind(data)["s"].tolist() == ["none", ""]
    with pytest.raises(RequestError, match="row 3, column 2 is 'NA'"):
        csv_bodies.decode("s,n\nx,1\nx,NA\n", tensors)


def test_optional_column_may_be_left_out_by_name() -> None:
    table = Table(2, ["a", "b"], optional=[1])
    np.testing.assert_array_equal(table.to_matrix({"a": np.array([1, 2])})[:, 1], [np.nan] * 2)
    with pytest.raises(RequestError, match="the column 'a' is missing"):
        table.to_matrix({"b": np.array([1])})


def test_column_of_any_type_keeps_what_it_holds() -> None:
    table = Table(2, ["a", "b"], inferred=True)
    [a, b] = table.to_columns(predict_requests.decode('[["x", 1], ["y", null]]').data)
    assert a.tolist() == ["x", "y"]
    assert b.dtype == np.float64


def test_every_kind_names_what_to_install() -> None:
    assert all(kind.package and ":" in kind.loader for kind in kinds.KINDS.values())


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("0,1,0\n1,1,\n", [[0, 1, 0], [1, 1, np.nan]]),
        ("0,1,\n5,6,7\n", [[0, 1, np.nan], [5, 6, 7]]),
        ("0,0,1\n5,6,7\n", [[0, 0, 1], [5, 6, 7]]),
        ("0,1,2\n", [[0, 1, 2]]),
    ],
)
def test_row_of_values_is_no_header_though_columns_are_called_so(
    text: str, rows: list[list[float]]
) -> None:
    table = Table(3, ["0", "1", "2"])
    np.testing.assert_array_equal(table.to_matrix(csv_bodies.decode(text, table)), rows)


@pytest.mark.parametrize("text", ["0,1,2\n5,6,7\n", "2,0,1\n7,5,6\n", "0,1,2\n5,6,\n"])
def test_first_row_that_may_be_a_header_or_a_record_is_refused(text: str) -> None:
    table = Table(3, ["0", "1", "2"])
    with pytest.raises(RequestError, match="header=present or text/csv; header=absent"):
        csv_bodies.decode(text, table)
    named = csv_bodies.decode(text, table, has_header=True)
    assert table.to_matrix(named)[:, :2].tolist() == [[5, 6]]
    assert len(csv_bodies.decode(text, table, has_header=False)) == 2


def test_names_are_looked_up_once_for_each_cell() -> None:
    """SEC-6: a header as long as a body beside a model of many columns."""

    class Name(str):
        """Counts how often it is compared."""

        __slots__ = ()
        compared = 0

        def __eq__(self, other: object) -> bool:
            Name.compared += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    count = 500
    table = Table(count, [Name(f"a{number}") for number in range(count)], text=[0])
    text = ",".join(f"b{number}" for number in range(count)) + "\n" + "," * (count - 1) + "\n"
    with pytest.raises(RequestError, match="is missing"):
        table.to_columns(csv_bodies.decode(text, table))
    assert Name.compared < 20 * count
