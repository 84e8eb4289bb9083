"""Claim: training reads CIFAR-10's 60,000 JPEG files into memory in 4 s on 2 cores.

That is at least 0.95 times as fast as a bare tf.data pipeline over the same files, and 1.2 times as
fast as PyTorch's DataLoader. Machine, versions and n are printed; results.md has the results. Run:
python benchmarks/read_pictures.py FOLDER [FOLDER ...] [--rounds 5] [--torch PYTHON]

Each folder holds CLASS/NAME.jpg, as CIFAR-10's train and test do. In turns, for n rounds, all
folders are read into arrays by the product with the decoder of a training job (tf.data) and with
that of an evaluation (Pillow), by a bare pipeline (`map` of `decode_jpeg` on all processors,
`batch`), and with `--torch` by a DataLoader with a worker for each processor, which decodes with
Pillow, in a process of that interpreter. A round includes listing the files, no import, and of the
DataLoader the start of its workers. All must return equal images.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"


def list_pictures(folder: Path) -> list[Path]:
    """List the pictures of a folder in the order in which the product reads them."""
    return sorted(folder.glob("*/*.jpg"))


def read_with_tensorflow(folders: Sequence[Path]) -> list[Any]:
    """Read each folder through a bare pipeline of tf.data into `[row, height, width, 3] uint8`."""
    import tensorflow as tf

    def decode(path: Any) -> Any:
        return tf.io.decode_jpeg(tf.io.read_file(path), 3, dct_method="INTEGER_ACCURATE")

    sets = []
    for folder in folders:
        paths = tf.data.Dataset.from_tensor_slices([str(path) for path in list_pictures(folder)])
        images = paths.map(decode, len(os.sched_getaffinity(0))).batch(512).prefetch(1)
        sets.append(np.concatenate([batch.numpy() for batch in images]))
    return sets


class Pictures:
    """What a DataLoader reads from."""

    def __init__(self, folder: Path) -> None:
        """List the pictures."""
        self.paths = list_pictures(folder)

    def __len__(self) -> int:
        """Count them."""
        return len(self.paths)

    def __getitem__(self, index: int) -> Any:
        """Decode one."""
        from PIL import Image

        with Image.open(self.paths[index]) as picture:
            return np.array(picture.convert("RGB"))


def read_with_torch(folders: Sequence[Path]) -> list[Any]:
    """Read each folder through PyTorch's DataLoader."""
    data: Any = importlib.import_module("torch.utils.data")
    workers = len(os.sched_getaffinity(0))
    loaders = (data.DataLoader(Pictures(folder), 512, num_workers=workers) for folder in folders)
    return [np.concatenate([batch.numpy() for batch in loader]) for loader in loaders]


def serve_torch(folders: Sequence[Path]) -> None:
    """Read the folders for each line of the input; print seconds and a digest of the images."""
    importlib.import_module("PIL.Image")  # no round imports it
    importlib.import_module("torch.utils.data")
    print(importlib.import_module("torch").__version__, flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        sets = read_with_torch(folders)
        print(time.perf_counter() - started, digest(sets), flush=True)


def digest(sets: Sequence[Any]) -> str:
    """Return the digest of all pixels."""
    found = hashlib.sha256()
    for images in sets:
        found.update(np.ascontiguousarray(images).data)
    return found.hexdigest()


def main() -> None:
    """Run the rounds and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--torch", metavar="PYTHON")
    parser.add_argument("--serve-torch", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve_torch:
        serve_torch(arguments.folders)
        return

    import PIL
    import tensorflow as tf

    from container.data import loading
    from container.data.formats.parts import Options
    from container.training.input.decoding import Decoder

    print(f"{name_cpu()}, {len(os.sched_getaffinity(0))} processors, n={arguments.rounds}")
    print(
        f"Python {platform.python_version()}, TensorFlow {tf.__version__}, Pillow {PIL.__version__}"
    )
    decoder = Decoder()
    decoder.start()

    def read(options: Options) -> list[Any]:
        return [loading.load(folder, options).images for folder in arguments.folders]

    readers: dict[str, Callable[[], list[Any]]] = {
        "ours, training": lambda: read(Options(run=decoder.run)),
        "ours, evaluation": lambda: read(Options()),
        "bare tf.data": lambda: read_with_tensorflow(arguments.folders),
    }
    torch = None
    if arguments.torch:
        command = [arguments.torch, __file__, *arguments.folders, "--serve-torch"]
        torch = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert torch.stdout  # noqa: S101 - for the type checker
        print(f"PyTorch {torch.stdout.readline().strip()}")
    times: dict[str, list[float]] = {}
    processor: dict[str, list[float]] = {}
    for _ in range(arguments.rounds):
        digests = set()
        for name, reader in readers.items():
            started = (time.perf_counter(), time.process_time())
            sets = reader()
            times.setdefault(name, []).append(time.perf_counter() - started[0])
            processor.setdefault(name, []).append(time.process_time() - started[1])
            digests.add(digest(sets))
        if torch:
            assert torch.stdin and torch.stdout  # noqa: S101, PT018 - for the type checker
            print(file=torch.stdin, flush=True)
            seconds, found = torch.stdout.readline().split()
            times.setdefault("PyTorch's DataLoader", []).append(float(seconds))
            digests.add(found)
        if len(digests) != 1:
            raise SystemExit("the readers do not return equal images")
    if torch:
        torch.communicate()
    report(times, processor, sum(len(list_pictures(folder)) for folder in arguments.folders))


def report(
    times: Mapping[str, Sequence[float]], processor: Mapping[str, Sequence[float]], count: int
) -> None:
    """Print the table of all readers."""
    print(f"{count:,} pictures; the images of all readers are equal")
    print(f"{'reader':22}{'s, median':>10}{'best':>8}{'CPU s':>8}{'pictures/s':>12}{'ours is':>9}")
    ours = statistics.median(times["ours, training"])
    for name, walls in times.items():
        median = statistics.median(walls)
        cpu_s = f"{statistics.median(processor[name]):.2f}" if name in processor else ""
        print(
            f"{name:22}{median:10.2f}{min(walls):8.2f}{cpu_s:>8}{count / median:12,.0f}"
            f"{median / ours:8.2f}x"
        )


def name_cpu() -> str:
    """Return the model of the processor."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    found = (line.partition(": ")[2] for line in lines if line.startswith("model name"))
    return next(found, platform.machine())


if __name__ == "__main__":
    main()
