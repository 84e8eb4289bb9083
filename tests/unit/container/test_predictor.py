"""Which runtime an artifact is served with."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from container import artifact, predictor
from container.errors import UserError

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
            (
                r"needs TensorFlow, which this image lacks, "
                r"as the model did not convert to LiteRT; .* that trains$"
            ),
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
    names: list[str], environ: dict[str, str], found: bool, tmp_path: Path
) -> None:
    for name in names:
        (tmp_path / name).touch()

    assert predictor.finds_gpu(environ, tmp_path) is found


@pytest.mark.parametrize(
    ("visible", "gpus"),
    [(None, ["0", "1"]), ("1", ["1"]), ("GPU-a, GPU-b", ["GPU-a", "GPU-b"]), ("", [])],
)
def test_gpus_are_listed_as_cuda_names_them(
    visible: str | None, gpus: list[str], tmp_path: Path
) -> None:
    for name in ("nvidia4", "nvidia5", "nvidiactl"):  # what a container may see of a machine's
        (tmp_path / name).touch()
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}

    assert predictor.list_gpus(environ, tmp_path) == gpus
