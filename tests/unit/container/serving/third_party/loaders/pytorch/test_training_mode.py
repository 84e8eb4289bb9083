"""Which calls of a program make its answers random; tests/contract reads real programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from container.errors import UserError
from container.serving.third_party.loaders.pytorch import training_mode


@pytest.mark.parametrize(
    "given",
    [
        {"p": 0.5, "train": True},
        {"dropout": 0.1, "train": True},
        {"dropout_p": 0.1},
        {"running_mean": ..., "training": True},
        {"running_mean": ..., "use_input_stats": True},
    ],
)
def test_a_call_that_trains_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"m\.pt was saved in training mode \(op\), so its answers"):
        training_mode.refuse(Path("m.pt"), [("op", given), ("op", given)])


@pytest.mark.parametrize(
    "given",
    [
        {"p": 0.5, "train": False},
        {"p": 0.5, "train": ...},
        {"p": 0.0, "train": True},
        {"p": 2},
        {"dropout": 0.0, "train": True},
        {"dropout_p": 0.0},
        {"running_mean": ..., "training": False},
        {"running_mean": None, "training": True},
    ],
)
def test_a_call_that_predicts_is_not(given: dict[str, Any]) -> None:
    training_mode.refuse(Path("m.pt"), [("op", given)])
