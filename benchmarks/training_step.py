"""Claim: steps of six networks are 1.1 to 2.0x as fast as by PyTorch, of four 0.85 to 0.97x.

Machine, versions and n are printed; results.md has the results.

usage: python benchmarks/training_step.py TORCH_PYTHON [--only mnist_convnet,resnet20,...]
       [--rounds 7] [--no-keras]

TORCH_PYTHON is the interpreter of an environment with torch and torchvision; `none` leaves PyTorch
out.

A step is forward, backward and an update of SGD with Nesterov momentum; no augmentation. Ours is
the product's loop with its automatic choices, as in a long job but for the trial of XLA, and
gathers its batches from uint8 images. Keras trains float32 arrays in memory by `fit` with its
defaults; PyTorch a constant float32 batch, channels last, eager under bfloat16 autocast if the CPU
has bfloat16, which it would only emulate otherwise. The ResNets of PyTorch have the layers of ours,
the others are torchvision's with one linear layer as head; both counts of weights are printed. Each
engine is a process of its own that compiles and warms up first; they then take turns for n rounds,
and a ratio is the median of the rounds' own. The processor's time counts where other work shares
the machine; PyTorch's includes threads that spin and wait.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ROUND_S = 2.0
SMALL, LARGE = ((32, 32, 3), 128), ((224, 224, 3), 16)
NETWORKS = {  # image shape, batch
    "mnist_convnet": ((28, 28, 1), 128),
    "resnet20": SMALL,
    "resnet32": SMALL,
    "resnet56": SMALL,
    "whitened_cnn": SMALL,
    "resnet50": LARGE,
    "mobilenet_v3_small": LARGE,
    "mobilenet_v3_large": LARGE,
    "efficientnet_b0": LARGE,
    "convnext_tiny": LARGE,
}
DEPTHS = {"resnet20": 3, "resnet32": 5, "resnet56": 9}
BATCHES = 8


def build(name: str, shape: tuple[int, int, int]) -> Any:
    """Build a Keras network on uint8 images that ends in `logits` and `probabilities`."""
    import keras

    from container.training.network import networks

    if name != "mnist_convnet":
        return networks.build(name, shape, 10, (0.5, 0.25))
    layers = keras.layers
    inputs = keras.Input(shape, dtype="uint8")
    x = layers.Rescaling(1 / 255)(inputs)
    for width in (32, 64):
        x = layers.MaxPooling2D(2)(layers.Conv2D(width, 3, activation="relu")(x))
    x = layers.Dropout(0.5)(layers.Flatten()(x))
    return keras.Model(
        inputs, layers.Softmax(name="probabilities")(layers.Dense(10, name="logits")(x))
    )


def make_ours(name: str) -> Any:
    """Return a function that does `n` steps of the product's loop."""
    from container.data.images import LabeledImages
    from container.training import settings as hyperparameters
    from container.training.distributed import rendezvous
    from container.training.network import twins
    from container.training.step import device as devices
    from container.training.step import loop, trial

    shape, batch = NETWORKS[name]
    values = {
        "model": name if name != "mnist_convnet" else "small_cnn",
        "batch_size": str(batch),
        "optimizer": "sgd",
    }
    values |= {
        "learning_rate": "0.001",
        "weight_decay": "0",
        "shift_pixels": "0",
        "flip": "false",
        "epochs": "1000",
        "lookahead_steps": "0",
    }
    settings, _ = hyperparameters.parse(values | {"label_smoothing": "0"})
    device = devices.choose(settings, shape)
    devices.configure(device)
    report("; ".join(device.reasons))
    images, labels = make_data(name)
    data = LabeledImages(images, labels, tuple(range(10)))
    twin = twins.clone_for_training(build(name, shape), device.precision)
    trainer = loop.Loop(twin, data, settings, device)
    trial.settle_kernels(trainer, rendezvous.Hosts(), None, 0, report)
    report(f"weights: {len(trainer.state()['weights'])}")

    def do(count: int) -> None:
        for start in range(0, count, BATCHES):
            trainer.run(0, 0, min(BATCHES, count - start), (0.0, 0))

    return do


def report(line: str) -> None:
    """Print a line beside the table."""
    print(f"  {line}", file=sys.stderr, flush=True)


def make_keras(name: str) -> Any:
    """Return a function that does `n` steps of Keras' own `fit`."""
    import keras
    import numpy as np

    shape, batch = NETWORKS[name]
    images, labels = make_data(name)
    inputs = keras.Input(shape)
    network = build(name, shape)
    trunk = keras.Model(network.input, network.output)
    network = keras.models.clone_model(trunk, input_tensors=inputs)
    network.compile(
        keras.optimizers.SGD(0.001, momentum=0.9, nesterov=True), "sparse_categorical_crossentropy"
    )
    images = images.astype("float32")

    def do(count: int) -> None:
        index = np.arange(count * batch) % len(images)
        network.fit(images[index], labels[index], batch_size=batch, epochs=1, verbose=0)

    return do


def make_data(name: str) -> tuple[Any, Any]:
    """Make images `[n, h, w, c] uint8` and labels `[n] int32`."""
    import numpy as np

    shape, batch = NETWORKS[name]
    draw = np.random.default_rng(0)
    return draw.integers(0, 256, (BATCHES * batch, *shape), np.uint8), draw.integers(
        0, 10, BATCHES * batch, np.int32
    )


def make_torch(name: str) -> Any:
    """Return a function that does `n` steps of PyTorch."""
    import torch

    shape, batch = NETWORKS[name]
    torch.manual_seed(0)
    network = build_torch(name).to(memory_format=torch.channels_last)
    weights = sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
    report(f"PyTorch's weights: {weights}")
    optimizer = torch.optim.SGD(network.parameters(), 0.001, momentum=0.9, nesterov=True)
    images = torch.rand(batch, shape[2], *shape[:2]).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (batch,))
    has_bfloat16 = re.search("avx512_bf16|amx_bf16", Path("/proc/cpuinfo").read_text()) is not None

    def do(count: int) -> None:
        for _ in range(count):
            with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16):
                loss = torch.nn.functional.cross_entropy(network(images), labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    return do


def build_torch(name: str) -> Any:
    """Build the network of `build` as PyTorch's users do."""
    import torch
    from torch import nn

    class Residual(nn.Module):  # type: ignore[misc]
        """Convolutions (width, size, stride) with batch normalization, and a way round them."""

        def __init__(
            self, before: int, convolutions: list[tuple[int, int, int]], *, project: bool
        ) -> None:
            super().__init__()
            parts: list[Any] = []
            width = before
            for position, (after, size, stride) in enumerate(convolutions):
                parts += [
                    nn.Conv2d(width, after, size, stride, size // 2, bias=False),
                    nn.BatchNorm2d(after),
                ]
                parts += [nn.ReLU(inplace=True)] if position < len(convolutions) - 1 else []
                width = after
            self.body = nn.Sequential(*parts)
            stride = max(stride for _, _, stride in convolutions)
            side = nn.Sequential(
                nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )
            self.side = side if project else nn.Identity()

        def forward(self, x: Any) -> Any:
            return torch.relu_(self.body(x) + self.side(x))

    if name == "mnist_convnet":
        parts = [
            nn.Conv2d(1, 32, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
        return nn.Sequential(*parts, nn.Flatten(), nn.Dropout(0.5), nn.Linear(1600, 10))
    if name == "whitened_cnn":
        return build_torch_whitened()
    if name not in {*DEPTHS, "resnet50"}:
        return build_torchvision(name)
    small = name != "resnet50"
    before, size, stride = (16, 3, 1) if small else (64, 7, 2)
    parts = [
        nn.Conv2d(3, before, size, stride, size // 2, bias=False),
        nn.BatchNorm2d(before),
        nn.ReLU(inplace=True),
    ]
    parts += [] if small else [nn.MaxPool2d(3, 2, 1)]
    stages = [(64, 3), (128, 4), (256, 6), (512, 3)]
    if small:
        stages = [(width, DEPTHS[name]) for width in (16, 32, 64)]
    for stage, (width, blocks) in enumerate(stages):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            last = [(width, 3, 1)] if small else [(width, 3, 1), (4 * width, 1, 1)]
            convolutions = [(width, 3 if small else 1, stride), *last]
            parts.append(Residual(before, convolutions, project=before != last[-1][0]))
            before = last[-1][0]
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, 10))


def build_torch_whitened() -> Any:
    """Build `whitened_cnn` with its first kernel frozen."""
    from torch import nn

    first = nn.Conv2d(3, 24, 2)
    first.weight.requires_grad = False
    parts: list[Any] = [first, nn.GELU()]
    before = 24
    for width in (64, 256, 256):
        for pooled in (True, False):
            parts.append(nn.Conv2d(before, width, 3, padding=1, bias=False))
            parts += [nn.MaxPool2d(2)] if pooled else []
            norm = nn.BatchNorm2d(width)
            norm.weight.requires_grad = False
            parts += [norm, nn.GELU()]
            before = width
    return nn.Sequential(*parts, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(before, 10))


def build_torchvision(name: str) -> Any:
    """Build a network of torchvision, with one linear layer after its features, as ours have."""
    import torchvision
    from torch import nn

    options = {"stochastic_depth_prob": 0.0} if name == "convnext_tiny" else {}
    network = getattr(torchvision.models, name)(**options)
    head = network.classifier
    inputs = next(layer for layer in head if isinstance(layer, nn.Linear)).in_features
    left_out = nn.Linear | nn.Hardswish | nn.Dropout
    keeps = [layer for layer in head if not isinstance(layer, left_out)]
    network.classifier = nn.Sequential(*keeps, nn.Linear(inputs, 10))
    return network


def contend(engine: str, name: str) -> None:
    """Warm up, then do as many steps as each line of the input says, and print the seconds."""
    if engine == "ours":
        from container.training.step import device as devices

        devices.import_tensorflow()
    make = {"ours": make_ours, "keras fit": make_keras, "torch": make_torch}[engine]
    do = make(name)
    for count in (2, 1 if NETWORKS[name] == LARGE else BATCHES):
        do(count)
    print("ready", flush=True)
    for line in sys.stdin:
        started, used = time.perf_counter(), time.process_time()
        do(int(line))
        print(time.perf_counter() - started, time.process_time() - used, flush=True)


class Contender:
    """A process that trains one network on one engine."""

    def __init__(self, interpreter: str, engine: str, name: str) -> None:
        """Start it and wait until it is warm."""
        command = [interpreter, __file__, "--contend", engine, "--only", name]
        environ = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "2"}
        self._process = subprocess.Popen(
            command,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        if self._read() != "ready":
            sys.exit(f"{engine} with {interpreter} does not run {name}")
        self.steps = max(2, round(ROUND_S / self.step_s(2)[0]))

    def _read(self) -> str:
        assert self._process.stdout  # noqa: S101 - for the type checker
        return self._process.stdout.readline().strip()

    def step_s(self, count: int) -> tuple[float, float]:
        """Do `count` steps; give the seconds, and the processor's seconds, that each took."""
        assert self._process.stdin  # noqa: S101 - for the type checker
        print(count, file=self._process.stdin, flush=True)
        wall_s, processor_s = map(float, self._read().split())
        return wall_s / count, processor_s / count

    def end(self) -> None:
        """End the process."""
        self._process.communicate()


def main() -> None:
    """Let the engines take turns on each network and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("torch_python", nargs="?", default="")
    parser.add_argument("--only", default=",".join(NETWORKS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--no-keras", action="store_true")
    parser.add_argument("--contend", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contend:
        contend(options.contend, options.only)
        return
    engines = {"ours": sys.executable} | ({} if options.no_keras else {"keras fit": sys.executable})
    if options.torch_python != "none":
        probe = "import torch, torchvision as vision; print(torch.__version__, vision.__version__)"
        command = [options.torch_python, "-c", probe]
        try:
            version = subprocess.run(
                command, check=True, capture_output=True, text=True
            ).stdout.strip()
        except (OSError, subprocess.CalledProcessError) as error:
            parser.error(
                f"{options.torch_python!r} does not import torch and torchvision (`none` leaves "
                f"PyTorch out): {error}"
            )
        engines["torch"] = options.torch_python
        print(f"PyTorch and torchvision {version}", end=", ")
    from importlib.metadata import version as find_version

    print(
        f"TensorFlow {find_version('tensorflow_cpu')}, Keras {find_version('keras')}, "
        f"{platform.python_version()}"
    )
    print(
        f"{platform.machine()}, {len(os.sched_getaffinity(0))} processors, n={options.rounds} "
        f"rounds of {ROUND_S:g} s"
    )
    for name in options.only.split(","):
        contenders = {
            engine: Contender(interpreter, engine, name) for engine, interpreter in engines.items()
        }
        seconds: dict[str, list[tuple[float, float]]] = {engine: [] for engine in engines}
        for _ in range(options.rounds):
            for engine, contender in contenders.items():
                seconds[engine].append(contender.step_s(contender.steps))
        for contender in contenders.values():
            contender.end()
        batch = NETWORKS[name][1]
        print(f"{name}, batch {batch}")
        print(
            f"{'':12}{'ms a step':>12}{'best':>10}{'images/s':>10}{'ours is':>10}"
            f"{'processor ms':>14}{'ours is':>10}"
        )
        for engine, times in seconds.items():
            wall, processor = (
                statistics.median(column) * 1e3 for column in zip(*times, strict=True)
            )
            ratios = [
                [b / a for a, b in zip(*pair, strict=True)]
                for pair in zip(seconds["ours"], times, strict=True)
            ]
            faster, cheaper = (statistics.median(column) for column in zip(*ratios, strict=True))
            row = f"{wall:12.2f}{min(times)[0] * 1e3:10.2f}{batch / wall * 1e3:10.1f}{faster:9.2f}x"
            print(f"{engine:12}{row}{processor:14.2f}{cheaper:9.2f}x", flush=True)


if __name__ == "__main__":
    main()
