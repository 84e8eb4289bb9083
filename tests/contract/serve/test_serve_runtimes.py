"""The artifact's three models behind the same server."""

import gzip
import io
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import ROOT

NPY = {"Content_Type": "application/x-npy", "Accept": "application/x-npy"}


def to_npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.mark.slow
def test_every_runtime_gives_the_probabilities_of_keras_in_every_media_type(
    artifact_base: Path, digits: Any, tmp_path: Path
) -> None:
    images, labels = digits["test"]
    rows = np.column_stack([labels, images.reshape(len(images), -1)])[:100]
    with gzip.open(tmp_path / "digits.csv.gz", "wt") as stream:
        np.savetxt(stream, rows, "%d", ",", header="label", comments="")
    program = [sys.executable, ROOT / "benchmarks/serving_agreement.py", artifact_base / "model"]

    result = subprocess.run(
        [*program, tmp_path / "digits.csv.gz"], capture_output=True, text=True, check=False
    )

    assert result.returncode == 0, result.stdout + result.stderr[-3000:]
    assert "100 images" in result.stdout
    assert result.stdout.count("| image/") == 3


def test_runtime_that_the_image_lacks_ends_the_server_with_its_reason(
    tmp_path: Path, run_to_its_end: Any
) -> None:
    """HO-6: a stand-in for TensorFlow that cannot be imported, as in the image that only serves."""
    (tmp_path / "tensorflow.py").write_text("raise ImportError('not here')")

    result = run_to_its_end(
        BYO_RUNTIME="saved_model", PYTHONPATH=os.pathsep.join([str(tmp_path), str(ROOT)])
    )

    assert result.returncode == 3
    assert (
        "the runtime saved_model needs TensorFlow, which this image lacks"
        in result.stdout + result.stderr
    )


def test_runtime_is_chosen_from_the_artifact_and_told_in_one_line(serve: Any) -> None:
    with serve() as server:
        line = next(line for line in server.log.read_text().splitlines() if " serving " in line)

    assert re.search(
        r"serving \S+ \(\d\.\d\d ms an image on one core\) with litert, which agreed with Keras: ",
        line,
    )


def test_artifact_without_a_flatbuffer_is_served_by_tensorflow(
    artifact_base: Path, tmp_path: Path, serve: Any, images: Any, keras_probabilities: Any
) -> None:
    model = tmp_path / "model"
    shutil.copytree(artifact_base / "model", model)
    (model / "model.tflite").unlink()
    document = json.loads((model / "model.json").read_text()) | {"differences": {}}
    (model / "model.json").write_text(json.dumps(document))

    with serve(tmp_path) as server:
        status, _, body = server.request("POST", "/invocations", to_npy(images[:5]), **NPY)

        assert status == 200
        assert np.abs(np.load(io.BytesIO(body)) - keras_probabilities[:5]).max() <= 1e-5
        assert "with saved_model, as the model did not convert to LiteRT" in server.log.read_text()


@pytest.mark.slow
def test_one_of_many_models_may_need_tensorflow(
    artifact_base: Path, tmp_path: Path, serve: Any, images: Any, keras_probabilities: Any
) -> None:
    """MME-2: the others are served by LiteRT in the same process."""
    for name in ("light", "unconverted"):
        shutil.copytree(artifact_base / "model", tmp_path / "models" / name / "model")
    model = tmp_path / "models/unconverted/model"
    (model / "model.tflite").unlink()
    document = json.loads((model / "model.json").read_text()) | {"differences": {}}
    (model / "model.json").write_text(json.dumps(document))

    with serve(tmp_path, SAGEMAKER_MULTI_MODEL="true") as server:
        for name in ("light", "unconverted"):
            url = str(tmp_path / "models" / name / "model")
            assert (
                server.request("POST", "/models", json.dumps({"model_name": name, "url": url}))[0]
                == 200
            )
            status, _, body = server.request(
                "POST", f"/models/{name}/invoke", to_npy(images[:5]), **NPY
            )

            assert status == 200
            assert np.abs(np.load(io.BytesIO(body)) - keras_probabilities[:5]).max() <= 1e-5
        assert "TensorFlow" in server.log.read_text()


def test_artifact_that_needs_tensorflow_ends_a_server_without_it_at_once(
    artifact_base: Path, tmp_path: Path, run_to_its_end: Any
) -> None:
    """HO-6."""
    shutil.copytree(artifact_base / "model", tmp_path / "model")
    document = json.loads((tmp_path / "model/model.json").read_text()) | {
        "differences": {"litert": 0.25}
    }
    (tmp_path / "model/model.json").write_text(json.dumps(document))
    # As in the image that only serves: the module is nowhere to be found.
    hide = "import importlib.util, sys\nfind = importlib.util.find_spec\n"
    hide += "def find_others(name, *rest):\n"
    hide += "    return None if name == 'tensorflow' else find(name, *rest)\n"
    hide += "importlib.util.find_spec = find_others\n"
    (tmp_path / "sitecustomize.py").write_text(hide)

    result = run_to_its_end(tmp_path, PYTHONPATH=os.pathsep.join([str(tmp_path), str(ROOT)]))

    assert result.returncode == 1
    assert (
        "needs TensorFlow, which this image lacks, "
        "as LiteRT's probabilities differ by 0.25 from Keras'" in result.stderr
    )
    assert "set BYO_RUNTIME=litert" in result.stderr


def test_requests_of_many_clients_are_batched_on_tensorflow_and_each_gets_its_own_answer(
    serve: Any, images: Any, keras_probabilities: Any
) -> None:
    """Clients with 1 to 7 images each, one of them with a body that is refused."""
    with serve(BYO_RUNTIME="saved_model", BYO_BATCH_IMAGES="16", BYO_BATCH_DELAY_MS="5") as server:
        faults: list[str] = []

        def ask(number: int) -> None:
            for start in range(number, 320, 29):
                size = 1 + (start * 7 + number) % 7
                if number == 3:
                    status = server.request("POST", "/invocations", b"no array", **NPY)[0]
                    faults.extend([f"{status}"] if status != 400 else [])
                    continue
                status, _, body = server.request(
                    "POST", "/invocations", to_npy(images[start : start + size]), **NPY
                )
                expected = keras_probabilities[start : start + size]
                if status != 200 or np.abs(np.load(io.BytesIO(body)) - expected).max() > 1e-5:
                    faults.append(f"{number} {start} {size}: {status}")

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        page = server.request("GET", "/metrics")[2].decode()

        assert faults == []
        answered = int(re.search(r'serving_requests_total{status="200"} (\d+)', page)[1])  # type: ignore[index]
        batches = int(re.search(r"serving_batch_requests_count (\d+)", page)[1])  # type: ignore[index]
        assert f"serving_batch_requests_sum {answered}" in page
        assert 0 < batches < answered
        assert "batches of up to 16 images" in server.log.read_text()


@pytest.mark.parametrize("runtime", ["openvino", "litert"])
def test_batches_of_another_runtime_give_the_same_answers(
    runtime: str, serve: Any, images: Any, keras_probabilities: Any
) -> None:
    """On OpenVINO the CPU may compute in bfloat16."""
    with serve(BYO_RUNTIME=runtime, BYO_BATCH_IMAGES="8") as server:
        status, _, body = server.request("POST", "/invocations", to_npy(images), **NPY)
        single = server.request("POST", "/invocations", to_npy(images[:1]), **NPY)

        assert (status, single[0]) == (200, 200)
        found = np.load(io.BytesIO(body))
        assert np.abs(found - keras_probabilities).max() <= (
            0.05 if runtime == "openvino" else 1e-5
        )
        assert (found.argmax(1) == keras_probabilities.argmax(1)).mean() >= 0.98
        assert np.abs(np.load(io.BytesIO(single[2])) - found[:1]).max() <= 1e-6


@pytest.mark.parametrize(
    ("runtime", "package", "name"),
    [("openvino", "openvino", "OpenVINO"), ("keras", "tensorflow", "TensorFlow")],
)
def test_runtime_whose_package_is_missing_says_so(
    runtime: str, package: str, name: str, tmp_path: Path, run_to_its_end: Any
) -> None:
    (tmp_path / f"{package}.py").write_text("raise ImportError('not here')")

    result = run_to_its_end(
        BYO_RUNTIME=runtime, PYTHONPATH=os.pathsep.join([str(tmp_path), str(ROOT)])
    )

    assert result.returncode == 3
    assert (
        f"the runtime {runtime} needs {name}, which this image lacks"
        in result.stdout + result.stderr
    )


def test_eight_bit_model_that_was_not_asked_for_is_refused_with_its_hyperparameter(
    run_to_its_end: Any,
) -> None:
    result = run_to_its_end(BYO_RUNTIME="litert_int8")

    assert result.returncode == 1
    assert "holds no model_int8.tflite: the training was not asked for int8_export" in result.stderr


def test_unknown_runtime_is_refused_with_what_is_possible(run_to_its_end: Any) -> None:
    result = run_to_its_end(BYO_RUNTIME="onnx")

    assert result.returncode == 1
    assert (
        "BYO_RUNTIME='onnx': expected one of "
        "auto, litert, litert_int8, openvino, saved_model, keras" in result.stderr
    )
