"""LightGBM's boosters in text.

The answer is that of `Booster.predict`, for classifiers probabilities. A missing value is NaN, and
so is a category that training has not seen.
"""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from container import machine
from container.errors import UserError
from container.serving.third_party.loaders.boosters import categories
from container.serving.third_party.model_files import Choice
from container.serving.third_party.tables import Table


class LightgbmModel:
    """A booster, and the categories of the DataFrame that it was trained on."""

    def __init__(self, path: Path, booster: Any) -> None:
        self._booster = booster
        self._threads = machine.count_library_threads()
        names = self._booster.feature_name()
        is_named = names != [f"Column_{number}" for number in range(len(names))]
        self._categories = find_categories(path, self._booster, names)
        text = categories.list_text(self._categories)
        self.signature = Table(len(names), names * is_named, text=text)

    def predict(self, data: Any) -> Any:
        """Predict rows."""
        if not self._categories:
            matrix = self.signature.to_matrix(data)
        else:
            matrix = categories.encode(self.signature, data, self._categories, takes_unseen=True)
        return self._booster.predict(matrix, num_threads=self._threads)


def load(path: Path, _: Choice) -> LightgbmModel:
    """Load a booster."""
    lightgbm: Any = importlib.import_module("lightgbm")
    return LightgbmModel(path, lightgbm.Booster(model_file=str(path)))


def find_categories(path: Path, booster: Any, names: Sequence[str]) -> dict[int, list[Any]]:
    """Return the categories of each column that pandas held as such.

    The file lists them in the order of their columns, but does not name those. The columns are the
    categorical features, unless some of those were integers, or pandas held an order of categories.

    Raises: UserError if the file does not say which columns they are.
    """
    known = booster.pandas_categorical or []
    if not known:
        return {}
    infos = booster.dump_model(num_iteration=1)["feature_infos"]
    places = booster.params.get("categorical_feature")
    if not isinstance(places, list):
        places = [place for place, name in enumerate(names) if infos.get(name, {}).get("values")]
    highest = [max(infos.get(names[place], {}).get("values") or [-1]) for place in places]
    if len(places) != len(known) or any(
        place >= len(values) for place, values in zip(highest, known, strict=True)
    ):
        raise UserError(
            f"{path} lists the categories of {len(known)} columns of pandas and does not say of "
            "which: some are ordered, or integers are categories as well; encode them as numbers "
            "before training, or add code/inference.py"
        )
    return dict(zip(places, known, strict=True))
