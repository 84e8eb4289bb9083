"""A library of an extra that is missing is one sentence with a command."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from container import errors
from container.errors import UserError
from local_test.cli import app, extras


def test_a_checkout_a_package_an_image_and_pipx_name_their_own_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert "local_test/setup.sh docker/requirements-local.txt" in str(extras.explain("moto"))
    monkeypatch.setattr(errors, "IS_PACKAGE", True)
    assert extras.explain("sklearn.datasets") == (
        "the example of handwritten digits, used without your own data, needs sklearn, "
        "which is not installed; run pip install 'byo-sagemaker[trainer]'"
    )
    monkeypatch.setattr(errors, "IS_PACKAGE", False)
    monkeypatch.setattr(errors, "_ROOT", tmp_path)  # an image has neither file
    assert errors.name_installation("trainer") == "pip install 'byo-sagemaker[trainer]'"
    (tmp_path / "pipx_metadata.json").touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    command = "run pipx runpip byo-sagemaker install 'byo-sagemaker[aws]'"
    assert str(extras.explain("moto")).endswith(command)


@pytest.mark.parametrize("name", [None, "", "nowhere"])
def test_any_other_module_is_a_bug(name: str | None) -> None:
    assert extras.explain(name) is None


def test_a_missing_library_is_found_before_it_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    extras.require("moto")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match="the local AWS needs moto, which is not installed"):
        extras.require("moto")


def test_a_command_ends_with_the_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: object) -> int:
        message = "No module named 'optuna.samplers'"
        raise ModuleNotFoundError(message, name="optuna.samplers")

    monkeypatch.setattr(app, "_build", lambda _: fail)
    assert app.main() == 2
    assert "Bayesian tuning needs optuna" in capsys.readouterr().err
