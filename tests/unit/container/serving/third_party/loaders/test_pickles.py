"""What a pickle holds decides how it is served."""

from __future__ import annotations

import bz2
import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from container.errors import UserError
from container.serving.third_party import model_files
from container.serving.third_party.loaders import pickles

TRUSTED = model_files.Choice(allow_pickle=True)


def test_a_compressed_estimator_predicts_as_before(tmp_path: Path) -> None:
    regression = LinearRegression().fit([[0.0], [1.0]], [1.0, 3.0])
    (tmp_path / "model.sav.bz2").write_bytes(bz2.compress(pickle.dumps(regression)))
    found = model_files.find(tmp_path, TRUSTED)
    assert found is not None
    assert found.kind == "pickle"
    np.testing.assert_allclose(found.load_model().predict([[2.0]]), [5.0])


def test_an_object_that_does_not_predict_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(pickle.dumps({"weights": 1}))
    with pytest.raises(UserError, match="holds a dict, which has no method predict; add code"):
        pickles.load(tmp_path / "model.pkl", TRUSTED)


def test_a_class_that_is_gone_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("features")
    exec("class Scaler:\n    pass\n", module.__dict__)  # noqa: S102 - ours
    monkeypatch.setitem(sys.modules, "features", module)
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(module.Scaler()))
    del module.Scaler
    with pytest.raises(UserError, match=r"Can't get attribute 'Scaler'.*move it into a module in"):
        pickles.load(tmp_path / "model.pkl", TRUSTED)
