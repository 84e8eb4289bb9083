"""What a model of tables takes: rows with columns, which often have names and types.

A missing value is None or NaN in JSON, and an empty cell, NA, NaN or null in CSV. It reaches the
model as NaN. Columns given by name may come in any order; a missing or an extra one is refused.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from container.errors import RequestError
from container.serving.third_party import signature
from container.serving.third_party.names import check_names
from container.serving.third_party.signature import TEXT

Column = NDArray[Any]
"""`[row]`, of numbers, or of objects where some are text."""


class Table:
    """The columns of a model."""

    takes_missing = True

    def __init__(
        self,
        count: int,
        names: Sequence[str] = (),
        *,
        text: Collection[int] = (),
        inferred: bool = False,
        optional: Collection[int] = (),
    ) -> None:
        """`text` are the columns of strings; with `inferred` any column may hold text.

        `optional` are those that a request by name may leave out: they are missing in each row.
        Without `names` the columns have none, and requests give them in the model's order.
        """
        self.count = count
        self.column_names = tuple(names)
        self._text = frozenset(text)
        self._inferred = inferred
        self._optional = frozenset(optional)

    def is_text(self, column: int) -> bool:
        """Return whether a column is text."""
        return column in self._text

    def is_optional(self, column: int) -> bool:
        """Return whether a request by name may leave a column out."""
        return column in self._optional

    def to_matrix(self, data: Any) -> NDArray[np.float64]:
        """Return `[row, column] float64`. Raises: RequestError 400."""
        if not isinstance(data, Mapping):
            rows = self._to_rows(data)
            if rows.dtype.kind in "iufb":
                return np.ascontiguousarray(rows, np.float64)
        return np.column_stack([column.astype(np.float64) for column in self.to_columns(data)])

    def to_columns(self, data: Any) -> list[Column]:
        """Return each column in the model's order. Raises: RequestError 400."""
        if isinstance(data, Mapping):
            return self._take_named(data)
        rows = self._to_rows(data)
        return [self._check(column, place) for place, column in enumerate(rows.T)]

    def describe(self, column: int) -> str:
        """Return how messages call a column."""
        if self.column_names:
            return f"the column {self.column_names[column]!r}"
        return f"column {column + 1}"

    def _to_rows(self, data: Any) -> NDArray[Any]:
        rows = signature.to_array(data)
        if rows.ndim == 1 and rows.size:
            if self.count == 1:
                rows = rows[:, np.newaxis]
            elif rows.size == self.count:
                rows = rows[np.newaxis]
        if rows.ndim != 2 or rows.shape[1] != self.count or not len(rows):
            message = f"the rows have the shape {list(rows.shape)}; ['n', {self.count}] is expected"
            if self.column_names:
                message += f": {', '.join(self.column_names[:50])}"
            raise RequestError(400, message)
        return rows

    def _take_named(self, data: Mapping[str, Any]) -> list[Column]:
        if not self.column_names:
            message = f"the model's columns have no names; send rows of {self.count} values"
            raise RequestError(400, message)
        data = {**self._make_optional(data), **data}
        check_names(data, self.column_names, "column")
        columns = []
        for place, name in enumerate(self.column_names):
            column = signature.to_array(data[name])
            if column.ndim == 2 and column.shape[1] == 1:
                column = column[:, 0]
            if column.ndim != 1 or not column.size:
                message = f"the column {name!r} has the shape {list(column.shape)}"
                raise RequestError(400, f"{message}; ['n'] is expected")
            columns.append(self._check(column, place))
        counts = {name: len(column) for name, column in zip(data, columns, strict=True)}
        if len(set(counts.values())) > 1:
            raise RequestError(400, f"the columns have different lengths: {counts}")
        return columns

    def _make_optional(self, data: Mapping[str, Any]) -> dict[str, Column]:
        """Return the optional columns that a request leaves out."""
        missing = [self.column_names[place] for place in sorted(self._optional)]
        count = max(map(np.size, data.values()), default=0)
        return {name: np.full(count, None) for name in missing if name not in data}

    def _check(self, column: Column, place: int) -> Column:
        """Check the type of a column, and turn numbers among objects into float64."""
        if column.dtype != TEXT:
            if column.dtype.kind not in "iufb":
                message = f"{self.describe(place)} is of type {column.dtype}; numbers are expected"
                raise RequestError(400, message)
            return column
        if place in self._text:
            return column
        texts = [i for i, value in enumerate(column) if not isinstance(value, int | float | None)]
        if not texts:
            return column.astype(np.float64)
        if self._inferred:
            return column
        shown = signature.shorten(column[texts[0]])
        message = f"{self.describe(place)} holds {shown} in row {texts[0] + 1}; it takes numbers"
        raise RequestError(400, message)
