"""Everything that waits for GPUs, in one run; prints one JSON line per check.

Checks: devices and their memory; one GPU against all of them by NCCL (weights and step time); XLA
against none; float16; PyTorch's step; running out of memory; serving through XLA, compared with
LiteRT; two hosts in network namespaces, one GPU each. A check that needs more GPUs than there are
says so and counts as not run. No results have been published yet.

usage: python -m benchmarks.gpu [TORCH_PYTHON]

TORCH_PYTHON is the interpreter of an environment with torch and CUDA; without it PyTorch is left
out. A step is forward, backward and SGD with momentum on ResNet-50, 224x224, 64 images per GPU, in
bfloat16 unless it says float16; n = 5 rounds of 20 steps, the median. The two hosts need root, for
the namespaces.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
IMAGES_PER_GPU = 64
ROUNDS = 5
STEPS = 20
TORCH = f"""
import json, statistics, time, torch, torchvision
network = torchvision.models.resnet50(num_classes=10).cuda().to(memory_format=torch.channels_last)
optimizer = torch.optim.SGD(network.parameters(), 0.001, momentum=0.9, nesterov=True)
images = torch.rand({IMAGES_PER_GPU}, 3, 224, 224).cuda().to(memory_format=torch.channels_last)
labels = torch.randint(0, 10, ({IMAGES_PER_GPU},)).cuda()
def step():
    with torch.autocast("cuda", torch.bfloat16):
        loss = torch.nn.functional.cross_entropy(network(images), labels)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
def measure():
    for _ in range({STEPS}):
        step()
    torch.cuda.synchronize()
measure()
times = []
for _ in range({ROUNDS}):
    started = time.perf_counter()
    measure()
    times.append((time.perf_counter() - started) / {STEPS})
print(json.dumps({{"step_ms": 1000 * statistics.median(times), "torch": torch.__version__}}))
"""


def make_loop(
    count: int,
    *,
    xla: bool,
    precision: str = "bfloat16",
    images_per_gpu: int = IMAGES_PER_GPU,
    steps: int = STEPS,
) -> Any:
    """Return the product's loop of ResNet-50 on `count` GPUs."""
    import keras
    import numpy as np

    from container.contract import Resources
    from container.data.images import LabeledImages
    from container.training import settings as hyperparameters
    from container.training.distributed import rendezvous
    from container.training.network import networks, twins
    from container.training.step import loop
    from container.training.step.device import Device

    batch = count * images_per_gpu
    chance = np.random.default_rng(0)
    pixels = chance.integers(0, 256, (steps * batch, 224, 224, 3), np.uint8)
    labels = chance.integers(0, 10, len(pixels), np.int32)
    data = LabeledImages(pixels, labels, tuple(range(10)))
    raw = {"model": "resnet50", "batch_size": str(batch), "optimizer": "sgd", "epochs": "1000"}
    settings, _ = hyperparameters.parse(raw | {"learning_rate": "0.001", "flip": "false"})
    places = [f"/GPU:{index}" for index in range(count)] if count > 1 else []
    hosts = rendezvous.connect(Resources(), 1, print, places)
    keras.utils.set_random_seed(0)
    network = networks.build("resnet50", (224, 224, 3), 10, (0.5, 0.25))
    twin = twins.clone_for_training(network, precision)
    device = Device(precision, 1, 8, 8, xla=xla, reasons=(), places=tuple(places))
    return loop.Loop(twin, data, settings, device, hosts=hosts)


def measure_step(trainer: Any) -> float:
    """Return the median milliseconds of a step."""
    times = []
    for number in range(ROUNDS + 1):
        started = time.perf_counter()
        trainer.run(number, 0, STEPS, (0.0, 0))
        times.append((time.perf_counter() - started) / STEPS)
    return 1000 * statistics.median(times[1:])  # the first one compiles


def check_steps(count: int) -> dict[str, Any]:
    """Measure steps on one GPU and on all, with XLA and without; compare the copies on all GPUs."""
    import numpy as np

    found: dict[str, Any] = {}
    for gpus in sorted({1, count}):
        for xla in (False, True):
            trainer = make_loop(gpus, xla=xla)
            found[f"{gpus} GPU, xla={xla}"] = {"step_ms": measure_step(trainer)}
            copies = getattr(trainer._weights, "values", [])  # noqa: SLF001 - of each GPU
            arrays = [copy.numpy() for copy in copies]
            equal = all(np.array_equal(arrays[0], array) for array in arrays)
            found[f"{gpus} GPU, xla={xla}"]["copies_equal"] = equal
    found["1 GPU, float16"] = {"step_ms": measure_step(make_loop(1, xla=True, precision="float16"))}
    return found


def check_serving() -> dict[str, Any]:
    """Serve ResNet-20 by TensorFlow, on a GPU through XLA, and compare it with LiteRT on CPUs."""
    import numpy as np

    from container import artifact, predictor
    from container.training import export
    from container.training.network import networks

    shape = (32, 32, 3)
    network = networks.build("resnet20", shape, 10, (0.5, 0.25))
    manifest = artifact.Manifest(shape, tuple(range(10)), {}, {}, 0.0, {})
    images = np.random.default_rng(0).integers(0, 256, (100, *shape), np.uint8)
    with tempfile.TemporaryDirectory() as root:
        with artifact.staging(Path(root)) as stage:
            exported = export.write_models(stage, network, manifest, images, log=complain)
            found = artifact.publish(stage, exported.manifest)
        served = predictor.TensorFlowPredictor(found, runtime="saved_model", threads=1)
        expected = predictor.load(found, runtime="litert").predict(images)
        difference = np.abs(served.predict(images) - expected).max()
    return {
        "xla": served.pads,
        "image_ms": 1000 * served.image_s,
        "largest_difference_of_a_probability": float(difference),
    }


def complain(line: str) -> None:
    """Keep a line of the log out of the results."""
    print(line, file=sys.stderr)


def check_memory() -> dict[str, Any]:
    """Show the memory that the driver reports, and the error of a batch that is too large."""
    from container.errors import UserError
    from container.training.step import memory

    sizes = memory.measure_gpus()
    try:
        make_loop(1, xla=False, images_per_gpu=8192, steps=1).run(0, 0, 1, (0.0, 0))
    except UserError as error:
        return {"bytes": sizes, "error": str(error)}
    return {"bytes": sizes, "error": "none: the batch fitted"}


def check_hosts() -> dict[str, Any]:
    """Run tests of several hosts, each of which sees a GPU of its own."""
    command = [sys.executable, "-m", "pytest", "-q", "tests/contract/test_train_hosts.py"]
    done = subprocess.run(
        [*command, "-k", "two_hosts or killed"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return {"passed": done.returncode == 0, "end": done.stdout[-500:]}


def main() -> int:
    """Run all checks; return 1 if there is no GPU."""
    import tensorflow as tf

    from container.training.step import device

    gpus = device.describe_gpus()
    print(json.dumps({"tensorflow": tf.__version__, "gpus": [str(gpu) for gpu in gpus]}))
    if not gpus:
        print("no GPU: nothing was checked", file=sys.stderr)
        return 1
    print(json.dumps({"steps": check_steps(len(gpus))}), flush=True)
    print(json.dumps({"memory": check_memory()}), flush=True)
    print(json.dumps({"serving": check_serving()}), flush=True)
    if len(sys.argv) > 1:
        torch = subprocess.run(
            [sys.argv[1], "-c", TORCH], capture_output=True, text=True, check=False
        )
        print(json.dumps({"pytorch": torch.stdout or torch.stderr[-500:]}), flush=True)
    hosts: Any = "not run: needs two GPUs"
    if len(gpus) > 1:
        hosts = check_hosts()
    print(json.dumps({"hosts": hosts}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
