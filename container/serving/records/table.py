"""A table from a body: columns that may have names, and what handlers get of it."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from container.errors import RequestError

Column = NDArray[Any]
"""`[row]`: numbers, or objects where some are text, with NaN for a missing value."""


@dataclass(frozen=True)
class Table:
    """The columns of a body, in its order."""

    columns: tuple[Column, ...]
    names: tuple[str, ...] = ()
    """Empty if the body does not name its columns."""
    header_lines: int = 0
    """Lines of the body that hold the names, and no record."""

    def to_array(self) -> NDArray[Any]:
        """Return `[row, column]`, of numbers if all columns are, otherwise of objects."""
        if all(column.dtype.kind in "iufb" for column in self.columns):
            return np.column_stack(self.columns)
        rows = np.empty((len(self.columns[0]), len(self.columns)), object)
        for place, column in enumerate(self.columns):
            rows[:, place] = column.tolist()
        return rows

    def to_frame(self, model_names: Sequence[str] = ()) -> Any:
        """Return a DataFrame of pandas, with the columns of the model if the body names none.

        Raises: RequestError 400 if the model has another number of columns.
        """
        pandas: Any = importlib.import_module("pandas")
        names: Sequence[Any] = self.names or model_names or range(len(self.columns))
        if len(names) != len(self.columns):
            message = f"the rows have {len(self.columns)} columns; the model has {len(names)}"
            raise RequestError(400, f"{message}: {', '.join(map(str, names[:50]))}")
        frame = pandas.DataFrame(dict(enumerate(self.columns)))
        frame.columns = list(names)
        return frame
