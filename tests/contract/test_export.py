"""The exported forms of networks that convert well, badly or not at all predict alike."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from container import artifact, predictor
from container.errors import PlatformError
from container.serving.batching import Batcher
from container.training import export

# Keras causes this warning with numpy 2.
pytestmark = pytest.mark.filterwarnings("ignore:.*__array__:DeprecationWarning")

MANIFEST = artifact.Manifest((8, 8, 1), tuple(range(10)), {}, {}, 0.0, {})


class LogGamma(keras.layers.Layer):  # type: ignore[misc] # keras has no types
    """An operation that LiteRT does not have."""

    def call(self, inputs: Any) -> Any:
        """Return the logarithm of gamma."""
        return tf.math.lgamma(inputs + 2.0)


def build(*last: keras.layers.Layer) -> keras.Model:
    keras.utils.set_random_seed(0)
    images = keras.Input((8, 8, 1), dtype="uint8")
    layers = [
        keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(8, 3, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(10),
        *last,
        keras.layers.Softmax(),
    ]
    outputs = images
    for layer in layers:
        outputs = layer(outputs)
    return keras.Model(images, outputs)


def write(
    root: Path, model: keras.Model, images: Any, **options: Any
) -> tuple[artifact.Artifact, list[str]]:
    lines: list[str] = []
    with artifact.staging(root) as stage:
        exported = export.write_models(stage, model, MANIFEST, images, log=lines.append, **options)
        return artifact.publish(stage, exported.manifest), lines


@pytest.fixture(scope="module")
def images(digits: Any) -> Any:
    return digits["test"][0]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, images: Any) -> artifact.Artifact:
    found, lines = write(tmp_path_factory.mktemp("exported"), build(), images[:100], int8=True)
    assert lines == []
    return found


def test_network_that_converts_leaves_flatbuffers_and_how_far_they_are_from_keras(
    exported: artifact.Artifact, images: Any
) -> None:
    expected = keras.models.load_model(exported.keras).predict(images[:64], verbose=0)
    differences = exported.manifest.differences

    for runtime in ("litert", "litert_int8"):
        found = np.abs(
            predictor.load(exported, runtime=runtime).predict(images[:64]) - expected
        ).max()
        assert differences[runtime] == pytest.approx(found, abs=2e-6)
    assert differences["litert"] <= 1e-5 < differences["litert_int8"] < 0.1
    assert (exported.root / "model_int8.tflite").stat().st_size < exported.litert.stat().st_size / 2
    assert predictor.choose(exported)[0] == "litert"


def test_network_that_does_not_convert_is_exported_without_flatbuffers_and_served_by_tensorflow(
    tmp_path: Path, images: Any
) -> None:
    model = build(LogGamma())

    found, lines = write(tmp_path, model, images[:100], int8=True)

    assert found.manifest.differences == {}
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "model.json",
        "model.keras",
        "saved_model",
    ]
    assert lines[0].startswith(
        "the model does not convert to LiteRT, and TensorFlow will serve it: "
    )
    assert lines[1].startswith(
        "the model does not convert to eight-bit LiteRT, and the artifact will not contain it: "
    )
    expected = model.predict(images, verbose=0)
    assert np.abs(predictor.load(found).predict(images) - expected).max() <= 1e-5


def test_network_whose_flatbuffer_does_not_agree_keeps_it_and_is_served_by_tensorflow(
    tmp_path: Path, images: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifact, "TOLERANCE", -1.0)  # nothing agrees

    found, lines = write(tmp_path, build(), images[:100])

    assert found.litert.exists()
    assert predictor.choose(found)[0] == "saved_model"
    assert (
        [line for line in lines if "differ from Keras'" in line and "TensorFlow will serve" in line]
        == lines
        != []
    )


def test_network_with_weights_that_are_no_numbers_is_not_exported(
    tmp_path: Path, images: Any
) -> None:
    model = build()
    model.set_weights([weights * np.nan for weights in model.get_weights()])

    with pytest.raises(RuntimeError, match="not finite"):
        write(tmp_path, model, images[:10])

    assert not (tmp_path / "model.json").exists()


def test_disk_that_is_full_during_the_conversion_is_the_platforms_fault(
    tmp_path: Path, images: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_bytes(_: Path, __: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_bytes)

    with pytest.raises(PlatformError, match="No space left"):
        write(tmp_path, build(), images[:10])


@pytest.fixture(scope="module", params=["saved_model", "keras", "xla"])
def model(request: Any, exported: artifact.Artifact) -> predictor.TensorFlowPredictor:
    """Load with TensorFlow; through XLA as on a GPU, with padded batches."""
    is_xla = request.param == "xla"
    runtime = "saved_model" if is_xla else request.param
    found = predictor.TensorFlowPredictor(exported, runtime=runtime, threads=1, xla=is_xla)
    assert found.pads is is_xla
    return found


@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.integers(0, 40), min_size=1, max_size=8))
def test_answers_of_batches_are_those_of_single_requests(
    model: predictor.TensorFlowPredictor, images: Any, sizes: list[int]
) -> None:
    batcher = Batcher(
        model.predict, images_maximum=32, delay_s=0.01, timeout_s=60, observe=lambda _: None
    )
    starts = np.cumsum([0, *sizes])
    requests = [images[start : start + size] for start, size in zip(starts, sizes, strict=False)]
    answers: list[Any] = [None] * len(requests)
    barrier = threading.Barrier(len(requests))

    def ask(index: int) -> None:
        barrier.wait(30)
        answers[index] = batcher.predict(requests[index])

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(len(requests))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for request, answer in zip(requests, answers, strict=True):
        singles = [model.predict(request[index : index + 1]) for index in range(len(request))]
        expected = np.concatenate([np.zeros((0, 10), np.float32), *singles])
        assert answer.shape == expected.shape
        assert np.abs(answer - expected).max(initial=0) <= 1e-6


def test_network_that_xla_does_not_compile_runs_without_it(
    images: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    exported: artifact.Artifact,
) -> None:
    function = tf.function

    def refuse(run: Any, **options: Any) -> Any:
        def fail(_: Any) -> Any:
            raise tf.errors.InvalidArgumentError(
                None, None, "Detected unsupported operations\nmore"
            )

        fail.get_concrete_function = fail  # type: ignore[attr-defined]
        return fail if options.get("jit_compile") else function(run, **options)

    monkeypatch.setattr(tf, "function", refuse)

    found = predictor.TensorFlowPredictor(exported, runtime="saved_model", threads=1, xla=True)

    assert not found.pads
    assert found.predict(images[:3]).shape == (3, 10)
    assert (
        "XLA cannot compile this model, which runs without it: Detected unsupported operations"
        in caplog.text
    )
