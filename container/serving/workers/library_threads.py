"""How many threads the numerical libraries of user code and third-party models start in a worker.

By themselves they start one for each processor in every worker, and those of one worker wait for a
processor by keeping it from another: two workers on two processors then answered a fifth of the
requests (PyTorch, benchmarks/torch_models.py).

Rules of this file: standard library only.
"""

import logging
from collections.abc import MutableMapping
from pathlib import Path
from typing import Final

VARIABLES: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_WORKER_BYTES: Final = 64 * 2**20
_MODEL_MEMORY: Final = 2  # a model in memory, by the size of its files; often it is less

log = logging.getLogger(__name__)


def choose(model_dir: Path, cores: int, free_bytes: int, workers: int) -> int:
    """Return a worker's part of the cores, where at most `workers` start and only some may fit."""
    model_bytes = 0
    for path in model_dir.rglob("*"):
        try:
            model_bytes += path.stat().st_size
        except OSError:  # a link to nothing
            continue
    fitting = max(1, free_bytes // (_WORKER_BYTES + _MODEL_MEMORY * model_bytes))
    return max(1, cores // min(workers, fitting))


def offer(environ: MutableMapping[str, str], count: int) -> None:
    """Set the variables that numerical libraries read when they are loaded; what is set stays."""
    for name in VARIABLES:
        environ.setdefault(name, str(count))
    log.info("numerical libraries: OMP_NUM_THREADS=%s in each worker", environ[VARIABLES[0]])
