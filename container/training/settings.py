"""The hyperparameters of the bundled training job: types, ranges, defaults, effects.

Rules of this file: standard library only, so that a wrong value fails before TensorFlow is
imported; a default stands here and nowhere else. docs/hyperparameters.md is made from it by `python
-m container.training.settings`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

from container import hyperparameters
from container.errors import UserError
from container.hyperparameters import field

CHANNEL_COUNTS: Final = (1, 3, 4)
SMALL_MODELS: Final = ("small_cnn", "resnet20", "resnet32", "resnet56")
APPLICATIONS: Final = (
    "resnet50",
    "mobilenet_v3_small",
    "mobilenet_v3_large",
    "efficientnet_b0",
    "convnext_tiny",
)
MONITORED: Final = ("validation_accuracy", "validation_loss", "train_accuracy", "train_loss")


# Defaults that differ from the small CNN's, the field's customary ones: of an optimizer, then of a
# model.
_SGD: Final = {"learning_rate": 0.1, "weight_decay": 0.005}
_RESNET: Final = {
    "optimizer": "sgd",
    "learning_rate": 0.2,
    "schedule": "linear",
    "shift_pixels": 4,
    "flip": True,
}
_APPLICATION: Final = {
    "learning_rate": 0.001,
    "beta_2": 0.999,
    "batch_size": 32,
    "shift_pixels": 0,
    "flip": True,
}
RECIPES: Final[Mapping[str, Mapping[str, object]]] = {
    "sgd": _SGD,
    "resnet20": _RESNET,
    "resnet32": _RESNET,
    "resnet56": _RESNET,
    **dict.fromkeys(APPLICATIONS, _APPLICATION),
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """One training job's hyperparameters."""

    # Network
    model: str = field("small_cnn", "network to train", choices=(*SMALL_MODELS, *APPLICATIONS))
    freeze_trunk: bool = field(
        default=False, effect="train the last layer alone; wants a `pretrained` or `model` channel"
    )

    # How long
    epochs: int | None = field(
        None,
        "passes over the training images",
        default_words="3, or as many as give 500 steps",
        low=1,
        high=100_000,
    )
    max_runtime_s: float | None = field(
        None,
        "ends the training in good order when the job has run so long",
        default_words="no limit",
        unit="seconds",
        low=1.0,
        high=2_419_200.0,
    )
    early_stopping_epochs: int = field(
        0,
        "ends the training when `monitor` has not improved for so long; 0: never",
        unit="epochs",
        low=0,
        high=10_000,
    )
    monitor: str = field(
        "validation_accuracy",
        "what early stopping and `keep=best` look at; without validation images its train_ twin",
        choices=MONITORED,
    )
    keep: str = field(
        "last",
        "whether the last epoch's weights are saved or the best epoch's",
        choices=("last", "best"),
    )

    # Optimizer
    optimizer: str = field(
        "adam",
        "update rule; weight decay is decoupled in all of them",
        choices=("adam", "lamb", "sgd"),
    )
    batch_size: int = field(
        128, "images of one training step, on all hosts together", unit="images", low=1, high=65_536
    )
    learning_rate: float = field(0.015, "peak of the schedule", low=1e-8, high=100.0)
    schedule: str = field(
        "linear",
        "fall of the learning rate after the warm-up: to 0 on a line or a half cosine, by 10 after 50 % and "
        "75 % of the steps, or not at all",
        choices=("linear", "cosine", "step", "constant"),
    )
    warmup_fraction: float = field(
        0.25, "share of the steps in which the learning rate rises", low=0.0, high=0.9
    )
    weight_decay: float = field(
        0.02, "shrinks the kernels by this times the learning rate a step", low=0.0, high=10.0
    )
    momentum: float = field(
        0.9, "share of the last update that sgd keeps (Nesterov)", low=0.0, high=0.999
    )
    beta_1: float = field(0.9, "decay of adam's and lamb's mean gradient", low=0.0, high=0.9999)
    beta_2: float = field(
        0.99, "decay of adam's and lamb's mean squared gradient", low=0.0, high=0.99999
    )
    clip_norm: float | None = field(
        None,
        "longest gradient; a longer one is scaled down",
        default_words="no limit",
        low=1e-6,
        high=1e6,
    )
    ema_decay: float = field(
        0.0,
        "decay of a running mean of the weights, which is saved in their place; 0: none",
        low=0.0,
        high=0.99999,
    )
    scale_learning_rate: bool = field(
        default=False, effect="multiply the learning rate by the number of hosts"
    )

    # Loss
    label_smoothing: float = field(0.1, "probability spread over all classes", low=0.0, high=0.9)
    class_weights: str = field(
        "none", "balanced: images of rare classes count more", choices=("none", "balanced")
    )

    # Augmentation
    shift_pixels: int = field(
        1, "furthest random shift of a batch, each way", unit="pixels", low=0, high=64
    )
    flip: bool = field(default=False, effect="mirror every other image, at random")
    cutout_pixels: int = field(
        0,
        "side of a square that is blackened at random in each image",
        unit="pixels",
        low=0,
        high=512,
    )
    mixup_alpha: float = field(
        0.0, "strength of blending pairs of images (beta distribution); 0: none", low=0.0, high=10.0
    )

    # Data
    label_column: str = field(
        "label", "header of the label's column in CSV; without a header it is the first column"
    )
    image_shape: tuple[int, ...] | None = field(
        None,
        "height, width and channels of CSV rows",
        default_words="a square grey image",
        unit="pixels",
        low=1,
        high=4096,
    )
    data_format: str = field(
        "auto",
        "format of the channels' files; auto: by ContentType, names and content",
        choices=("auto", "csv", "images", "tfrecord", "recordio", "npz", "npy", "idx"),
    )
    resize: str = field(
        "refuse",
        "what happens to pictures of another size than the first",
        choices=("refuse", "stretch", "pad", "crop"),
    )
    on_bad_record: str = field(
        "fail", "what a record that cannot be read does", choices=("fail", "skip")
    )
    bad_record_limit: int = field(
        100, "records that may be skipped", unit="records", low=0, high=1_000_000_000
    )
    memory_budget_mb: int | None = field(
        None,
        "decoded images that are kept in memory; more of them stream from scratch space",
        default_words="a quarter of the container's memory",
        unit="MB",
        low=0,
        high=100_000_000,
    )
    validation_fraction: float = field(
        0.0,
        "share of the training images held out where there is no validation channel",
        low=0.0,
        high=0.9,
    )

    # Reproducibility and safety
    seed: int = field(
        0, "seed of weights, order of the images, augmentation and split", low=0, high=2**31 - 1
    )
    deterministic: bool = field(
        default=False,
        effect="allow TensorFlow only operations that give the same bits in every run",
    )
    resume: bool = field(default=True, effect="go on from the newest checkpoint if there is one")
    checkpoint_dir: str | None = field(
        None, "directory of checkpoints", default_words="/opt/ml/checkpoints, if it exists"
    )
    checkpoint_interval_s: float = field(
        60.0,
        "time between checkpoints; 0: after every inner loop",
        unit="seconds",
        low=0.0,
        high=86_400.0,
    )
    checkpoints_kept: int = field(2, "newest checkpoints that are kept", low=1, high=1000)
    min_accuracy: float | None = field(
        None,
        "the job fails if the accuracy on the test images is lower",
        default_words="no limit",
        low=0.0,
        high=1.0,
    )
    min_f1: float | None = field(
        None,
        "the job fails if the macro F1 on the test images is lower",
        default_words="no limit",
        low=0.0,
        high=1.0,
    )

    # Export
    int8_export: bool = field(
        default=False,
        effect="also leave a LiteRT model in eight bits, which `BYO_RUNTIME=litert_int8` serves; its accuracy is told",
    )

    # Machine
    precision: str = field(
        "auto",
        "arithmetic of the training step, float16 with a scaled loss; auto: bfloat16 where the device computes in it, "
        "else float16 on GPUs with tensor cores",
        choices=("auto", "float32", "bfloat16", "float16"),
    )
    require_gpu: bool = field(default=False, effect="the job fails where TensorFlow sees no GPU")
    xla: str = field(
        "auto", "compile the step with XLA; auto: on GPUs alone", choices=("auto", "on", "off")
    )
    threads: int | None = field(
        None, "CPU threads", default_words="what the container may use", low=1, high=1024
    )
    host_wait_s: float = field(
        900.0,
        "time in which all hosts of the job must have come",
        unit="seconds",
        low=1.0,
        high=86_400.0,
    )
    towers: int | None = field(
        None,
        "parts of a batch that are computed side by side",
        default_words="chosen by the image size",
        low=1,
        high=1024,
    )


def parse(raw: Mapping[str, str]) -> tuple[Settings, list[str]]:
    """Build the settings from the platform's strings; also give the warnings about unknown names.

    Raises: UserError that names every wrong value, what was found and what is possible.
    """
    settings, warnings = hyperparameters.parse(Settings, raw)
    settings = _complete(settings, raw)
    shape = settings.image_shape
    faults = []
    if shape is not None and (len(shape) != 3 or shape[2] not in CHANNEL_COUNTS):
        faults.append(
            f"image_shape={list(shape)}: expected height, width and channels "
            f"(one of {', '.join(map(str, CHANNEL_COUNTS))}), such as [28, 28, 1]"
        )
    if settings.towers and settings.towers > settings.batch_size:
        faults.append(
            f"towers={settings.towers}: expected at most batch_size={settings.batch_size}"
        )
    if faults:
        raise UserError.from_faults("wrong hyperparameters", faults)
    return settings, warnings


def format_page() -> str:
    """Format the page about all hyperparameters, in Markdown."""
    defaults = {field.name: field.default for field in dataclasses.fields(Settings)}
    recipes = []
    for name, recipe in RECIPES.items():
        changes = ", ".join(
            f"`{key}={value}`" for key, value in recipe.items() if value != defaults[key]
        )
        recipes.append(
            f"| `{'optimizer' if name == 'sgd' else 'model'}={name}` | {changes.replace('True', 'true')} |"
        )
    return (
        "# Hyperparameters of the bundled training job\n\n"
        "This page is made from the code by `python -m container.training.settings > docs/hyperparameters.md`.\n"
        "Values are strings, as the platform passes them; raw text, JSON and Python's notation are all understood. A\n"
        "wrong value fails the job within two seconds, all wrong values are reported at once, and an unknown name is\n"
        "warned of.\n\n"
        + hyperparameters.format_table(Settings)
        + "\n## Defaults of other models and optimizers\n\nA value that the job sets always wins.\n\n"
        "| with | the defaults are |\n|---|---|\n" + "\n".join(recipes) + "\n"
    )


def _complete(settings: Settings, raw: Mapping[str, str]) -> Settings:
    """Put the recipe's defaults where the user has set nothing."""
    recipe = dict(RECIPES.get(settings.model, {}))
    recipe = {
        **RECIPES.get(
            settings.optimizer if "optimizer" in raw else str(recipe.get("optimizer")), {}
        ),
        **recipe,
    }
    unset: dict[str, Any] = {name: value for name, value in recipe.items() if name not in raw}
    return dataclasses.replace(settings, **unset)


if __name__ == "__main__":
    print(format_page(), end="")
