"""Columns of categories, of which a model holds the place of each value among those of training."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from container.errors import RequestError
from container.serving.third_party import signature
from container.serving.third_party.tables import Table

Categories: TypeAlias = Mapping[int, Sequence[Any]]
"""By column, its categories in the order of training: texts, numbers or booleans."""


def list_text(categories: Categories) -> list[int]:
    """Return the columns whose categories are text."""
    return [place for place, known in categories.items() if _are_text(known)]


def _are_text(known: Sequence[Any]) -> bool:
    return any(isinstance(category, str) for category in known)


def encode(
    table: Table, data: Any, categories: Categories, *, takes_unseen: bool
) -> NDArray[np.float64]:
    """Return `[row, column] float64`, with the places of categories, and NaN for missing values.

    With `takes_unseen`, a category that training has not seen is missing.

    Raises: RequestError 400 that names the column and the row of a value that is not a category.
    """
    columns = table.to_columns(data)
    for place, known in categories.items():
        places = {category: number for number, category in enumerate(known)}
        encoded = np.full(len(columns[place]), np.nan)
        for row, value in enumerate(columns[place].tolist()):
            if value is None or value != value:  # noqa: PLR0124 - only NaN differs from itself
                continue
            if value in places:
                encoded[row] = places[value]
            elif not takes_unseen or (_are_text(known) and not isinstance(value, str)):
                message = f"{table.describe(place)} holds {signature.shorten(value)} in row "
                shown = ", ".join(map(repr, known[:20]))
                raise RequestError(400, f"{message}{row + 1}; its categories are {shown}")
        columns[place] = encoded
    return np.column_stack([column.astype(np.float64) for column in columns])
