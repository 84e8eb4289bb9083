"""The hyperparameters of the bundled network: types, ranges, defaults, effects.

`python -m container.training.settings` prints docs/hyperparameters.md.

Rules of this file: standard library only, so that a wrong value fails before TensorFlow is
imported; each default is here and nowhere else.
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Final

from container import hyperparameters
from container.hyperparameters import field
from container.text import charset_rules
from container.training.defaults import recipes

CHANNEL_COUNTS: Final = (1, 3, 4)
MONITORED: Final = ("validation_accuracy", "validation_loss", "train_accuracy", "train_loss")


@dataclasses.dataclass(frozen=True)
class Settings:
    """One training job's hyperparameters."""

    # Network
    model: str = field(
        recipes.AUTO,
        "network to train; auto: that of the pretrained weights, if there are any, else "
        "whitened_cnn for color images of 24 to 64 pixels, and small_cnn for all others",
        choices=(recipes.AUTO, *recipes.MODELS),
    )
    freeze_trunk: bool = field(
        default=False, effect="train only the last layer; needs a `pretrained` or `model` channel"
    )

    # How long
    epochs: int | None = field(
        None,
        "passes over the training images",
        default_words="3 (whitened_cnn: 10), or as many as make 500 steps, at most 100",
        low=1,
        high=100_000,
    )
    max_runtime_s: float | None = field(
        None,
        "end the training and save the model after this time",
        default_words="no limit",
        unit="seconds",
        low=1.0,
        high=2_419_200.0,
    )
    early_stopping_epochs: int = field(
        0,
        "end the training if `monitor` has not improved for this many; 0: never",
        unit="epochs",
        low=0,
        high=10_000,
    )
    monitor: str = field(
        "validation_accuracy",
        "metric of early stopping and `keep=best`; without validation images its train_ variant",
        choices=MONITORED,
    )
    keep: str = field(
        "last", "save the weights of the last or of the best epoch", choices=("last", "best")
    )

    # Optimizer
    optimizer: str = field(
        "adam", "update rule, with decoupled weight decay", choices=("adam", "lamb", "sgd")
    )
    batch_size: int = field(
        128, "images of one training step, on all hosts", unit="images", low=1, high=65_536
    )
    learning_rate: float = field(0.015, "peak of the schedule", low=1e-8, high=100.0)
    schedule: str = field(
        "linear",
        "learning rate after the warm-up: falls linearly or as a half cosine to 0, is divided by "
        "10 after 50 % and 75 % of the steps, or is constant",
        choices=("linear", "cosine", "step", "constant"),
    )
    warmup_fraction: float = field(
        0.25, "share of the steps during which the learning rate rises", low=0.0, high=0.9
    )
    weight_decay: float = field(
        0.02,
        "share of the kernels, times the learning rate, to subtract per step",
        low=0.0,
        high=10.0,
    )
    momentum: float = field(
        0.9, "share of the last update that sgd adds (Nesterov)", low=0.0, high=0.999
    )
    beta_1: float = field(0.9, "decay of adam's and lamb's mean gradient", low=0.0, high=0.9999)
    beta_2: float = field(
        0.99, "decay of adam's and lamb's mean squared gradient", low=0.0, high=0.99999
    )
    clip_norm: float | None = field(
        None,
        "maximum length of the gradient; longer ones are scaled down",
        default_words="no limit",
        low=1e-6,
        high=1e6,
    )
    ema_decay: float = field(
        0.0,
        "decay of a running mean of the weights, which is saved instead; 0: none",
        low=0.0,
        high=0.99999,
    )
    lookahead_steps: int = field(
        0,
        "every so many steps, pull the weights to a slow copy of them, which follows them "
        "less and less until the end (Lookahead); 0: never",
        unit="steps",
        low=0,
        high=100_000,
    )
    offset_rate: float = field(
        1.0,
        "factor of the learning rate for the offsets of batch normalization, with sgd",
        low=0.0,
        high=1000.0,
    )
    scale_learning_rate: bool = field(
        default=False, effect="multiply the learning rate by the number of hosts"
    )

    # Loss
    label_smoothing: float = field(0.1, "probability to spread over all classes", low=0.0, high=0.9)
    class_weights: str = field(
        "none", "balanced: images of rare classes weigh more", choices=("none", "balanced")
    )

    # Augmentation
    shift_pixels: int = field(
        1, "maximum random shift of a batch in each direction", unit="pixels", low=0, high=64
    )
    shift_each: bool = field(
        default=False,
        effect="shift each image by itself, and fill its border with a reflection, not with black",
    )
    crop_share: float = field(
        1.0,
        "smallest share of the area of an image that a random crop keeps, before it is scaled up "
        "again (random-resized-crop); 1: no crop",
        low=0.05,
        high=1.0,
    )
    flip: bool = field(
        default=False,
        effect="mirror half of the images, chosen at random, and the other half in the next epoch",
    )
    augmentation: str = field(
        "none",
        "trivial: change each image by one of 14 operations of random strength (TrivialAugment)",
        choices=("none", "trivial"),
    )
    cutout_pixels: int = field(
        0,
        "side of a black square at a random position of each image",
        unit="pixels",
        low=0,
        high=512,
    )
    mixup_alpha: float = field(
        0.0,
        "parameter of the beta distribution that blends pairs of images; 0: none",
        low=0.0,
        high=10.0,
    )

    mirror_views: bool = field(
        default=False,
        effect="let the saved model average the logits of an image and of its mirror image, which "
        "takes twice as long",
    )

    # Data
    label_column: str = field(
        "label",
        "column of the labels in CSV: its header, `first`, `last`, or its number: 1 is the first, "
        "-1 the last; by default the first one if there is no header",
    )
    charset: str = field(
        "utf-8",
        "charset of CSV rows and of text labels, such as latin-1, cp1252 or utf-16; a byte order "
        "mark takes precedence",
    )
    image_shape: tuple[int, ...] | None = field(
        None,
        "height, width and channels of CSV rows",
        default_words="a square gray image",
        unit="pixels",
        low=1,
        high=4096,
    )
    data_format: str = field(
        "auto",
        "format of the files; auto: by ContentType, names and content",
        choices=(
            *("auto", "csv", "images", "tfrecord", "recordio", "npz", "npy", "idx"),
            *("parquet", "webdataset"),
        ),
    )
    resize: str = field(
        "refuse",
        "what to do with pictures of another size",
        choices=("refuse", "stretch", "pad", "crop"),
    )
    on_bad_record: str = field(
        "fail", "what to do about a record that cannot be read", choices=("fail", "skip")
    )
    bad_record_limit: int = field(
        100, "records that may be skipped", unit="records", low=0, high=1_000_000_000
    )
    memory_budget_mb: int | None = field(
        None,
        "decoded images to keep in memory; larger sets stream from scratch space",
        default_words="a quarter of the container's memory",
        unit="MB",
        low=0,
        high=100_000_000,
    )
    validation_fraction: float = field(
        0.0,
        "share of the training images to hold out if there is no validation channel",
        low=0.0,
        high=0.9,
    )

    # Reproducibility and safety
    seed: int = field(
        0, "seed of weights, image order, augmentation and split", low=0, high=2**31 - 1
    )
    deterministic: bool = field(
        default=False, effect="let TensorFlow use only deterministic operations"
    )
    resume: bool = field(
        default=True, effect="continue from the newest checkpoint, if there is one"
    )
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
    checkpoints_kept: int = field(2, "number of checkpoints to keep", low=1, high=1000)
    min_accuracy: float | None = field(
        None,
        "fail the job if the accuracy on test images is lower",
        default_words="no limit",
        low=0.0,
        high=1.0,
    )
    min_f1: float | None = field(
        None,
        "fail the job if the macro F1 on test images is lower",
        default_words="no limit",
        low=0.0,
        high=1.0,
    )

    # Export
    int8_export: bool = field(
        default=False, effect="also export an eight-bit LiteRT model, for `BYO_RUNTIME=litert_int8`"
    )

    # Machine
    precision: str = field(
        "auto",
        "arithmetic of the training step; auto: bfloat16 if the device supports it, else float16 "
        "(with a scaled loss) on GPUs with tensor cores",
        choices=("auto", "float32", "bfloat16", "float16"),
    )
    require_gpu: bool = field(default=False, effect="fail the job if TensorFlow sees no GPU")
    xla: str = field(
        "auto",
        "compile the step with XLA; auto: only on GPUs, but a job of half an hour tries both",
        choices=("auto", "on", "off"),
    )
    threads: int | None = field(
        None, "CPU threads", default_words="what the container may use", low=1, high=1024
    )
    host_wait_s: float = field(
        900.0, "time for all hosts of the job to start", unit="seconds", low=1.0, high=86_400.0
    )
    towers: int | None = field(
        None,
        "parts of a batch to compute in parallel",
        default_words="chosen by the image size",
        low=1,
        high=1024,
    )


_PAGE: Final = """# Hyperparameters of the bundled network

`python -m container.training.settings > docs/hyperparameters.md` generates this page. Values are
strings, as the platform passes them: raw text, JSON or Python's notation. A wrong value fails the
job within two seconds, all wrong values are reported together, and an unknown name
causes a warning.

{table}
## Defaults of other models and optimizers

Values that the job sets take precedence. Where a job sets another optimizer than that of its model,
the model's defaults for the old one do not apply.

| with | the defaults are |
|---|---|
{recipes}

With a channel of pretrained weights, `schedule=cosine`, `warmup_fraction=0.1`, and the learning
rate is a tenth of what it would be, unless `freeze_trunk=true`.

Where next: [training](training.md) explains what the job does with them; [data](data.md) lists the
formats and input modes.
"""


def parse(raw: Mapping[str, str]) -> tuple[Settings, list[str]]:
    """Build the settings from the strings of the platform; also return warnings of unknown names.

    Raises: UserError with every wrong value, and what is possible.
    """
    settings, faults, warnings = hyperparameters.read(Settings, raw)
    settings = recipes.complete(settings, raw)
    shape = settings.image_shape
    if not faults:  # rules of several values, one of which may be wrong
        faults += _find_contradictions(settings, raw)
    if shape is not None and (len(shape) != 3 or shape[2] not in CHANNEL_COUNTS):
        faults.append(
            f"image_shape={list(shape)}: expected height, width and channels "
            f"(one of {', '.join(map(str, CHANNEL_COUNTS))}), such as [28, 28, 1]"
        )
    if not charset_rules.is_charset(settings.charset):
        faults.append(
            f"charset={settings.charset!r}: expected a charset that Python knows, such as utf-8, "
            "latin-1, cp1252, utf-16 or shift_jis"
        )
    if faults:
        raise hyperparameters.complain(faults, warnings)
    return settings, warnings


def _find_contradictions(settings: Settings, raw: Mapping[str, str]) -> list[str]:
    faults = recipes.find_faults(settings, raw)
    if settings.towers and settings.towers > settings.batch_size:
        batch_size = settings.batch_size
        faults.append(f"towers={settings.towers}: expected at most batch_size={batch_size}")
    return faults


def format_page() -> str:
    """Format the page about all hyperparameters, in Markdown."""
    defaults = {field.name: field.default for field in dataclasses.fields(Settings)}
    lines = []
    for choice, recipe in recipes.list_recipes().items():
        changed = [key for key in recipe if recipe[key] != defaults[key]]
        listed = ", ".join(f"`{key}={json.dumps(recipe[key])}`" for key in changed).replace('"', "")
        lines.append(f"| `{choice}` | {listed} |")
    table = hyperparameters.format_table(Settings)
    return _PAGE.format(table=table, recipes="\n".join(lines))


if __name__ == "__main__":
    print(format_page(), end="")
