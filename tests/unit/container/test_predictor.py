"""Which runtime an artifact is served with."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from container import artifact, contract, predictor
from container.errors import UserError
from container.serving import server, server_settings

MANIFEST = artifact.Manifest((28, 28, 1), (0, 1), {}, {}, 1.0, {})


def find(root: Path, **differences: float) -> artifact.Artifact:
    return artifact.Artifact(root, dataclasses.replace(MANIFEST, differences=differences))


@pytest.mark.parametrize(
    ("differences", "runtime", "reason"),
    [
        ({"litert": 9e-6}, "litert", "which agreed with Keras"),
        (
            {"litert": 2e-5},
            "saved_model",
            "as LiteRT's probabilities differ by 2e-05 from Keras', and at most 1e-05 is accepted",
        ),
        ({}, "saved_model", "as the model did not convert to LiteRT"),
        ({"litert_int8": 1e-7}, "saved_model", "as the model did not convert to LiteRT"),
    ],
)
def test_auto_is_litert_where_it_agreed_with_keras_and_else_tensorflow(
    differences: dict[str, float], runtime: str, reason: str, tmp_path: Path
) -> None:
    assert predictor.choose(find(tmp_path, **differences)) == (runtime, reason)


@pytest.mark.parametrize(
    ("differences", "message"),
    [
        (
            {"litert": 0.5},
            r"needs TensorFlow, which this image lacks, .* 0\.5 from .*or set BYO_RUNTIME=litert",
        ),
        (
            {},
            r"needs TensorFlow, which this image lacks, as the model did not convert to LiteRT; .* that trains$",
        ),
    ],
)
def test_auto_says_what_the_image_lacks(
    differences: dict[str, float], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "tensorflow" else object()
    )

    with pytest.raises(UserError, match=message):
        predictor.choose(find(tmp_path, **differences))


@pytest.mark.parametrize(
    ("runtime", "message"),
    [
        ("litert", r"holds no model\.tflite: the model did not convert"),
        ("litert_int8", r"holds no model_int8\.tflite: the training was not asked for int8_export"),
    ],
)
def test_model_that_the_artifact_lacks_is_named(runtime: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        predictor.load(find(tmp_path), runtime=runtime)


@pytest.mark.parametrize(
    ("names", "environ", "found"),
    [
        (["nvidia0", "nvidiactl"], {}, True),
        (["nvidia3"], {"CUDA_VISIBLE_DEVICES": "0"}, True),
        (["nvidiactl", "nvidia-uvm", "null"], {}, False),
        (["nvidia0"], {"CUDA_VISIBLE_DEVICES": ""}, False),
        (["nvidia0"], {"CUDA_VISIBLE_DEVICES": "-1"}, False),
        ([], {"NVIDIA_VISIBLE_DEVICES": "all"}, False),
    ],
)
def test_gpu_is_found_by_its_device(
    names: list[str],
    environ: dict[str, str],
    found: bool,  # noqa: FBT001
    tmp_path: Path,
) -> None:
    for name in names:
        (tmp_path / name).touch()

    assert predictor.finds_gpu(environ, tmp_path) is found


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
    has_gpu: bool,  # noqa: FBT001
    environ: dict[str, str],
    runtime: str,
    is_loaded: bool,  # noqa: FBT001
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """HO-14: what has several threads is loaded by the worker, after the fork."""
    for name in ("model.json", "model.tflite"):
        (tmp_path / name).touch()
    monkeypatch.setattr(artifact, "load", lambda _: find(tmp_path, litert=0.0))
    monkeypatch.setattr(predictor, "load", lambda *_, **__: Loaded(image_s))
    monkeypatch.setattr(predictor, "finds_gpu", lambda _: has_gpu)
    layout = contract.Layout(tmp_path)
    with caplog.at_level(logging.INFO, "container"):
        service = server.prepare(layout, environ, server_settings.parse(environ), 2)

    assert (service.application is not None) is is_loaded
    assert f"with {runtime}, " in caplog.text
    batches = runtime == "saved_model"
    assert service.prediction_threads == (32 if batches else 1)
    assert ("batches of up to 32 images" in caplog.text) is batches
