"""Defaults that depend on the model, the optimizer, the images and pretrained weights."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from container.errors import UserError
from container.training.defaults import pretrained, recipes
from container.training.settings import Settings, parse


@pytest.mark.parametrize(
    ("shape", "model"),
    [
        ((28, 28, 1), "small_cnn"),
        ((32, 32, 1), "small_cnn"),
        ((32, 32, 3), "whitened_cnn"),
        ((24, 64, 3), "whitened_cnn"),
        ((64, 64, 3), "whitened_cnn"),
        ((23, 32, 3), "small_cnn"),
        ((65, 32, 3), "small_cnn"),
        ((32, 32, 4), "small_cnn"),
        ((224, 224, 3), "small_cnn"),
        ((0, 0, 0), "small_cnn"),
    ],
)
def test_the_images_decide_the_model(shape: tuple[int, int, int], model: str) -> None:
    assert recipes.choose_model(shape, None)[0] == model


def write_keras(directory: Path, name: str) -> None:
    with zipfile.ZipFile(directory / "model.keras", "w") as archive:
        archive.writestr("config.json", json.dumps({"config": {"name": name}}))


def test_pretrained_weights_decide_the_model_if_it_is_one_of_ours(tmp_path: Path) -> None:
    write_keras(tmp_path, "resnet50")
    model, reason = recipes.choose_model((32, 32, 3), tmp_path)
    assert (model, reason) == ("resnet50", "the network of the pretrained weights")
    write_keras(tmp_path, "functional_7")
    assert recipes.choose_model((32, 32, 3), tmp_path)[0] == "whitened_cnn"
    (tmp_path / "model.keras").write_bytes(b"no archive")
    assert pretrained.read_network_name(tmp_path / "model.keras") is None
    (tmp_path / "second.h5").write_bytes(b"")
    with pytest.raises(UserError, match=r"one \.keras or \.h5 file; found model\.keras, second"):
        recipes.choose_model((28, 28, 1), tmp_path)


def complete(given: dict[str, Any], *, fine_tunes: bool = False, model: str = "") -> Settings:
    settings = parse({name: str(value) for name, value in given.items()})[0]
    if model:  # as chosen later
        settings = dataclasses.replace(settings, model=model)
    return recipes.complete(settings, given, fine_tunes=fine_tunes)


def test_a_model_that_is_chosen_later_has_the_defaults_of_one_that_is_set() -> None:
    assert complete({}, model="whitened_cnn") == complete({"model": "whitened_cnn"})
    kept = complete({"flip": "false", "batch_size": 64}, model="whitened_cnn")
    assert (kept.flip, kept.batch_size, kept.optimizer) == (False, 64, "sgd")
    assert complete({}, model="small_cnn") == Settings(model="small_cnn")


def test_another_optimizer_than_that_of_the_model_has_its_own_defaults() -> None:
    for model in ("resnet20", "whitened_cnn"):
        found = complete({"model": model, "optimizer": "adam"})
        assert (found.learning_rate, found.weight_decay, found.beta_2) == (0.015, 0.02, 0.99)
        assert (found.offset_rate, found.momentum) == (1.0, 0.9)
        assert found.flip
    assert complete({"model": "resnet50", "optimizer": "sgd"}).learning_rate == 0.1
    assert complete({"model": "resnet50", "optimizer": "adam"}).learning_rate == 0.001


@pytest.mark.parametrize(
    ("given", "rate"),
    [
        ({}, 0.0015),
        ({"model": "resnet20"}, 0.02),
        ({"model": "resnet50"}, 0.0001),
        ({"model": "resnet50", "freeze_trunk": "true"}, 0.001),
        ({"model": "resnet50", "learning_rate": 0.3}, 0.3),
    ],
)
def test_fine_tuning_warms_up_briefly_to_a_lower_rate_that_falls_as_a_cosine(
    given: dict[str, Any], rate: float
) -> None:
    found = complete(given, fine_tunes=True)
    assert found.learning_rate == pytest.approx(rate)
    assert (found.schedule, found.warmup_fraction) == ("cosine", 0.1)
    assert complete({**given, "schedule": "step"}, fine_tunes=True).schedule == "step"
    assert recipes.complete(found, given, fine_tunes=True) == found


def test_a_rate_that_has_no_effect_is_refused() -> None:
    with pytest.raises(UserError, match="offset_rate=8: only optimizer=sgd uses it"):
        parse({"offset_rate": "8"})
    assert parse({"offset_rate": "8", "optimizer": "sgd"})[0].offset_rate == 8
    assert parse({"offset_rate": "8", "model": "whitened_cnn"})[0].offset_rate == 8


def test_every_model_has_a_number_of_epochs() -> None:
    assert [recipes.count_default_epochs(model) for model in recipes.MODELS[:3]] == [3, 10, 3]
