"""What a server decides before it forks; tests/contract/serve has the count of workers."""

from __future__ import annotations

import dataclasses
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from container import artifact, contract, predictor
from container.errors import UserError
from container.serving import plan, server_settings
from container.serving.bodies import rows
from container.serving.many_models import models
from container.serving.service import Service

MANIFEST = artifact.Manifest((28, 28, 1), (0, 1), {}, {}, 1.0, {}, differences={"litert": 0.0})


class Loaded:
    """A model that takes `image_s` for an image."""

    def __init__(self, image_s: float) -> None:
        """Is loaded."""
        self.image_s = image_s

    def predict(self, images: Any) -> Any:
        """Return zeros for each image."""
        return np.zeros((len(images), 2), np.float32)


@pytest.mark.parametrize(
    ("image_s", "has_gpu", "environ", "runtime", "is_loaded"),
    [
        (0.001, True, {}, "litert", True),
        (0.02, False, {}, "litert", False),
        (0.02, True, {}, "saved_model", False),
        (0.02, True, {"BYO_RUNTIME": "litert"}, "litert", False),
        (0.001, False, {"BYO_RUNTIME": "saved_model"}, "saved_model", False),
    ],
)
def test_heavy_model_on_a_gpu_is_tensorflows(  # noqa: PLR0913, PLR0917 - a table
    image_s: float,
    has_gpu: bool,
    environ: dict[str, str],
    runtime: str,
    is_loaded: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """HO-14: what has several threads is loaded by the worker, after the fork."""
    model = tmp_path / "model"
    model.mkdir()
    for name in ("model.json", "model.tflite"):
        (model / name).touch()
    monkeypatch.setattr(artifact, "load", lambda _: artifact.Artifact(model, MANIFEST))
    monkeypatch.setattr(predictor, "load", lambda *_, **__: Loaded(image_s))
    monkeypatch.setattr(predictor, "finds_gpu", lambda _: has_gpu)
    layout = contract.Layout(tmp_path)
    with caplog.at_level(logging.INFO, "container"):
        planned = plan.make(layout, environ, server_settings.parse(environ), 2)

    assert (planned.model is not None) is is_loaded
    assert (Service(planned).application is not None) is is_loaded
    assert f"with {runtime}, " in caplog.text
    batches = runtime == "saved_model"
    assert planned.prediction_threads == (32 if batches else 1)
    assert ("batches of up to 32 images" in caplog.text) is batches


def test_plan_never_changes(tmp_path: Path) -> None:
    layout = contract.Layout(tmp_path)
    planned = plan.make(layout, {}, server_settings.Settings(multi_model=True), 2)

    with pytest.raises(dataclasses.FrozenInstanceError):
        planned.workers = 2  # type: ignore[misc]


def test_multi_model_endpoint_has_one_worker_and_starts_without_a_model(tmp_path: Path) -> None:
    """MME-1."""
    layout = contract.Layout(tmp_path)
    planned = plan.make(layout, {}, server_settings.Settings(multi_model=True, workers=4), 4)
    service = Service(planned)

    assert (planned.workers, planned.models) == (1, layout.models)
    assert isinstance(service.application, models.NoModel)
    assert service.models is not None


def test_user_code_is_left_for_the_workers_to_load(tmp_path: Path) -> None:
    """HO-14."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code/inference.py").write_text(
        "import no_such_package_anywhere\ndef predict_fn(data, model):\n    return data\n"
    )

    service = Service(plan.make(contract.Layout(tmp_path), {}, server_settings.Settings(), 3))

    assert (service.plan.workers, service.plan.grows, service.application) == (3, True, None)
    with pytest.raises(UserError, match="no_such_package_anywhere"):
        service.load()
    assert service.application is None


@pytest.mark.parametrize("is_compiled", [True, False])
def test_a_slow_decoder_is_logged_once(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    is_compiled: bool,
) -> None:
    monkeypatch.setattr(rows, "LIBRARY", rows.LIBRARY if is_compiled else tmp_path / "none.so")
    settings = server_settings.Settings(multi_model=True)
    with caplog.at_level(logging.WARNING):
        plan.make(contract.Layout(tmp_path), {}, settings, 1)
    lines = [record.getMessage() for record in caplog.records if "Python decodes" in record.msg]
    assert len(lines) == (not is_compiled)
    assert all(f"`{sys.executable} -m container.serving.bodies.rows`" in line for line in lines)
