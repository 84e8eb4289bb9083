"""Defaults that depend on each other: of models, of optimizers, and of fine-tuning.

Rules of this file: standard library only, so that a wrong value fails before TensorFlow is
imported; what a job sets is never changed.
"""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol, TypeVar

from container.training.defaults import pretrained

AUTO: Final = "auto"
APPLICATIONS: Final = (
    "resnet50",
    "mobilenet_v3_small",
    "mobilenet_v3_large",
    "efficientnet_b0",
    "convnext_tiny",
)
SMALL_MODELS: Final = ("small_cnn", "whitened_cnn", "resnet20", "resnet32", "resnet56")
MODELS: Final = (*SMALL_MODELS, *APPLICATIONS)
"""The networks."""
_COLOR: Final = 3
_WHITENED_PIXELS: Final = (24, 64)  # of the shorter and the longer side

# What differs from the defaults of the small CNN.
_SGD: Final = {"learning_rate": 0.1, "weight_decay": 0.005}
_RESNET: Final = {
    "optimizer": "sgd",
    "learning_rate": 0.2,
    "schedule": "linear",
    "shift_pixels": 4,
    "flip": True,
}
# Of arXiv:2404.00498 for 1024 images, at a quarter of them: the rate falls to a quarter, and the
# slow copy of the weights is updated after as many images.
_WHITENED: Final = {
    "optimizer": "sgd",
    "batch_size": 256,
    "learning_rate": 0.375,
    "momentum": 0.85,
    "weight_decay": 0.0089,
    "offset_rate": 64.0,
    "lookahead_steps": 20,
    "label_smoothing": 0.2,
    "shift_pixels": 2,
    "shift_each": True,
    "flip": True,
    "mirror_views": True,
}
_APPLICATION: Final = {
    "learning_rate": 0.001,
    "beta_2": 0.999,
    "batch_size": 32,
    "shift_pixels": 0,
    "flip": True,
}
_OF_OPTIMIZERS: Final[Mapping[str, Mapping[str, Any]]] = {"sgd": _SGD}
_OF_MODELS: Final[Mapping[str, Mapping[str, Any]]] = {
    "whitened_cnn": _WHITENED,
    "resnet20": _RESNET,
    "resnet32": _RESNET,
    "resnet56": _RESNET,
    **dict.fromkeys(APPLICATIONS, _APPLICATION),
}
_OF_FINE_TUNING: Final = {"schedule": "cosine", "warmup_fraction": 0.1}
_FINE_TUNING_RATE: Final = 0.1  # of that of a network that starts at random
# These mean something else to another optimizer than that of a model's recipe.
_OF_ONE_OPTIMIZER: Final = ("learning_rate", "weight_decay", "momentum", "beta_2", "offset_rate")
_DEFAULT_EPOCHS: Final = {"whitened_cnn": 10}


class Chosen(Protocol):
    """The hyperparameters of a job: a frozen dataclass with the names of the recipes."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def model(self) -> str:
        """The network."""

    @property
    def optimizer(self) -> str:
        """The update rule."""

    @property
    def freeze_trunk(self) -> bool:
        """Whether only the last layer trains."""

    @property
    def offset_rate(self) -> float:
        """The factor of the rate of offsets."""


S = TypeVar("S", bound=Chosen)


def list_recipes() -> dict[str, Mapping[str, Any]]:
    """Return the defaults that a hyperparameter's value changes, by `name=value`."""
    found = {f"optimizer={name}": recipe for name, recipe in _OF_OPTIMIZERS.items()}
    return found | {f"model={name}": recipe for name, recipe in _OF_MODELS.items()}


def complete(settings: S, given: Collection[str], *, fine_tunes: bool = False) -> S:
    """Set the defaults of the model, the optimizer and fine-tuning; not those `given` by the job.

    A network that starts from pretrained weights warms up briefly, to a tenth of the rate, which
    then falls as a half cosine; its last layer trains at the full rate if it trains without others.
    """
    of_model = dict(_OF_MODELS.get(settings.model, {}))
    optimizer = str(of_model.get("optimizer", "adam"))
    if "optimizer" in given:
        if settings.optimizer != optimizer:
            of_model = {key: of_model[key] for key in of_model if key not in _OF_ONE_OPTIMIZER}
        optimizer = settings.optimizer
    recipe = {**_OF_OPTIMIZERS.get(optimizer, {}), **of_model}
    if fine_tunes:
        recipe = {**recipe, **_OF_FINE_TUNING}
        if not settings.freeze_trunk:
            rate = recipe.get("learning_rate", _find_default(settings, "learning_rate"))
            recipe["learning_rate"] = _FINE_TUNING_RATE * rate
    unset = {name: value for name, value in recipe.items() if name not in given}
    return dataclasses.replace(settings, **unset)


def find_faults(settings: Chosen, given: Collection[str]) -> list[str]:
    """List what was `given` and has no effect with the other settings."""
    if "offset_rate" in given and settings.optimizer != "sgd" and settings.offset_rate != 1:
        fault = (
            f"offset_rate={settings.offset_rate:g}: only optimizer=sgd uses it; expected 1 with "
            f"optimizer={settings.optimizer}"
        )
        return [fault]
    return []


def choose_model(shape: Sequence[int], directory: Path | None) -> tuple[str, str]:
    """Choose a network for images of `shape` = height, width, channels; also return the reason.

    `directory` is that of pretrained weights, whose network is chosen if it is one of ours.

    Raises: UserError if there is a directory, but not one file with weights.
    """
    name = None
    if directory is not None:
        name = pretrained.read_network_name(pretrained.find_weights(directory))
    if name in MODELS:
        return str(name), "the network of the pretrained weights"
    height, width, depth = shape
    size = f"{height}x{width} with {depth} channel(s)"
    low, high = _WHITENED_PIXELS
    if depth == _COLOR and low <= min(height, width) and max(height, width) <= high:
        return "whitened_cnn", f"small color images, {size}"
    return "small_cnn", f"images of {size}"


def count_default_epochs(model: str) -> int:
    """Return how many epochs a network trains for by default on a set that is not small."""
    return _DEFAULT_EPOCHS.get(model, 3)


def _find_default(settings: Chosen, name: str) -> Any:
    return next(f.default for f in dataclasses.fields(settings) if f.name == name)
