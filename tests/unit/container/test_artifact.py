"""The artifact's manifest and its publication."""

import dataclasses
import json
from pathlib import Path

import pytest

from container import artifact
from container.errors import PlatformError, UserError

MANIFEST = artifact.Manifest(
    input_shape=(28, 28, 1),
    classes=("cat", "dog"),
    hyperparameters={"epochs": 3},
    metrics={"test_accuracy": 0.99},
    training_time_s=2.5,
    versions={"python": "3.11"},
)


def build(stage: Path, text: str = "model") -> None:
    (stage / "model.keras").write_text(text)
    (stage / "model.tflite").write_text(text)
    (stage / "saved_model").mkdir()
    (stage / "saved_model/saved_model.pb").write_text(text)


def publish(model_dir: Path, text: str = "model") -> artifact.Artifact:
    with artifact.staging(model_dir) as stage:
        build(stage, text)
        return artifact.publish(stage, MANIFEST)


def test_artifact_comes_back_as_it_was_published(tmp_path: Path) -> None:
    publish(tmp_path / "model")

    found = artifact.load(tmp_path / "model")

    assert found.manifest == MANIFEST
    assert found.litert.read_text() == "model"
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "model.json",
        "model.keras",
        "model.tflite",
        "saved_model",
    ]


def test_artifact_is_found_one_directory_below(tmp_path: Path) -> None:
    """TRIP-21."""
    publish(tmp_path / "model")

    assert artifact.load(tmp_path).root == tmp_path / "model"


def test_artifact_replaces_an_older_one_whole(tmp_path: Path) -> None:
    publish(tmp_path, "old")

    publish(tmp_path, "new")

    assert artifact.load(tmp_path).saved_model.joinpath("saved_model.pb").read_text() == "new"


def test_artifact_that_fails_halfway_leaves_the_older_one(tmp_path: Path) -> None:
    publish(tmp_path, "old")

    def fail_halfway() -> None:
        with artifact.staging(tmp_path) as stage:
            build(stage, "new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_halfway()

    assert artifact.load(tmp_path).keras.read_text() == "old"
    assert not list(tmp_path.glob(".staging*"))


def test_artifact_staging_of_a_killed_run_is_swept(tmp_path: Path) -> None:
    (tmp_path / ".staging-killed").mkdir()

    publish(tmp_path)

    assert not list(tmp_path.glob(".staging*"))


def test_artifact_without_manifest_names_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "model.h5").touch()

    with pytest.raises(
        UserError, match=r"model\.json is expected there or one directory below; found model\.h5"
    ):
        artifact.load(tmp_path)


def test_artifact_that_misses_a_file_names_it(tmp_path: Path) -> None:
    publish(tmp_path)
    (tmp_path / "model.tflite").unlink()

    with pytest.raises(UserError, match=r"incomplete: model\.tflite missing"):
        artifact.load(tmp_path)


def test_artifact_without_a_flatbuffer_is_whole_and_takes_away_that_of_an_older_one(
    tmp_path: Path,
) -> None:
    publish(tmp_path)
    with artifact.staging(tmp_path) as stage:
        build(stage)
        (stage / "model.tflite").unlink()
        artifact.publish(stage, dataclasses.replace(MANIFEST, differences={}))

    found = artifact.load(tmp_path)

    assert not found.litert_agrees
    assert not found.litert.exists()


def test_artifact_of_a_version_that_measured_no_differences_has_a_flatbuffer_that_agrees(
    tmp_path: Path,
) -> None:
    publish(tmp_path)
    document = dataclasses.asdict(MANIFEST)
    del document["differences"]
    (tmp_path / "model.json").write_text(json.dumps(document))

    assert artifact.load(tmp_path).litert_agrees


def test_artifact_that_promises_an_eight_bit_model_must_have_it(tmp_path: Path) -> None:
    publish(tmp_path)
    document = dataclasses.asdict(MANIFEST) | {"differences": {"litert": 1e-4, "litert_int8": 0.1}}
    (tmp_path / "model.json").write_text(json.dumps(document))

    with pytest.raises(UserError, match=r"incomplete: model_int8\.tflite missing"):
        artifact.load(tmp_path)

    (tmp_path / "model_int8.tflite").touch()
    assert not artifact.load(tmp_path).litert_agrees


@pytest.mark.parametrize(
    "change",
    [
        {"format_version": 99},
        {"unheard_of": 1},
        {"input_shape": [28]},
        {"classes": 7},
        {"differences": {"onnx": 0}},
        {"differences": {"litert": "none"}},
        {"differences": {"litert": -1}},
    ],
)
def test_artifact_with_a_foreign_manifest_is_refused(
    tmp_path: Path, change: dict[str, object]
) -> None:
    publish(tmp_path)
    document = dataclasses.asdict(MANIFEST) | change
    (tmp_path / "model.json").write_text(json.dumps(document))

    with pytest.raises(UserError, match=r"model\.json"):
        artifact.load(tmp_path)


def test_artifact_directory_that_cannot_be_made_is_the_platforms_fault(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with (
        pytest.raises(PlatformError, match="cannot be written"),
        artifact.staging(tmp_path / "file/model"),
    ):
        pass
