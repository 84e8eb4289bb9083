"""Which columns of a scikit-learn model are text: those of which its first steps learned texts."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np


def find_text(estimator: Any, count: int, names: Sequence[str]) -> dict[int, Any]:
    """Return the columns of text, each with what stands for a missing value: None or NaN.

    `names` are those of the `count` columns, if they have any. An encoder whose categories are
    texts takes text, and so do an imputer of texts and a vectorizer. What the first step of a
    pipeline makes of a table is not followed, unless that step is a function.
    """
    return dict(_find(estimator, list(range(count)), list(names)))


def _find(estimator: Any, places: list[int], names: list[str]) -> Iterator[tuple[int, Any]]:
    steps = [step for _, step in getattr(estimator, "steps", ()) if not _learns_nothing(step)]
    if steps:
        yield from _find(steps[0], places, names)
        return
    for _, transformer, columns in getattr(estimator, "transformers_", ()):
        yield from _find(transformer, _resolve(columns, places, names), names)
    if hasattr(estimator, "vocabulary_"):
        yield from dict.fromkeys(places, np.nan).items()
    learned = getattr(estimator, "categories_", None)
    if learned is None:
        learned = [[value] for value in getattr(estimator, "statistics_", ())]
    if len(learned) == len(places):
        for place, known in zip(places, learned, strict=True):
            if _are_text(known):
                yield place, _choose_missing(known)


def _learns_nothing(step: Any) -> bool:
    return step in (None, "passthrough") or type(step).__name__ == "FunctionTransformer"


def _are_text(known: Any) -> bool:
    present = [value for value in known if not _is_missing(value)]
    return bool(present) and all(isinstance(value, str) for value in present)


def _choose_missing(known: Any) -> Any:
    if any(value is None for value in known):
        return None
    return np.nan


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value))


def _resolve(columns: Any, places: list[int], names: list[str]) -> list[int]:
    """Return the places of columns that are given by names, places, a slice or a mask."""
    if isinstance(columns, slice):
        if isinstance(columns.start, str) or isinstance(columns.stop, str):
            return []  # scikit-learn replaces slices of names when it fits
        return places[columns]
    chosen = np.atleast_1d(np.asarray(columns))
    if chosen.dtype == np.bool_:
        return np.flatnonzero(chosen).tolist()
    return [names.index(column) if column in names else int(column) for column in chosen.tolist()]
