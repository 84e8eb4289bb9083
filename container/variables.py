"""Our own environment variables, whose names and values are easily misspelt.

Rules of this file: standard library only; other prefixes, such as `WANDB_`, have other readers.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from container.errors import UserError
from container.hyperparameters import BOOLEANS

_OURS: Final = "BYO_"
_NAMES: Final = """
BYO_ALLOW_PICKLE BYO_BAD_RECORDS BYO_BATCH_DELAY_MS BYO_BATCH_IMAGES BYO_HANDLER_THREADS
BYO_LOG_FORMAT BYO_MLFLOW BYO_MODEL BYO_MODEL_PROCESSES BYO_PRELOAD BYO_QUEUE_REQUESTS
BYO_RUNTIME BYO_WANDB
SAGEMAKER_ALLOW_EMPTY_MODEL SAGEMAKER_BASE_DIR SAGEMAKER_BATCH SAGEMAKER_BIND_TO_PORT
SAGEMAKER_CONTAINER_LOG_LEVEL SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT SAGEMAKER_GUNICORN_LOGLEVEL
SAGEMAKER_GUNICORN_THREADS SAGEMAKER_GUNICORN_TIMEOUT_SECONDS SAGEMAKER_GUNICORN_WORKERS
SAGEMAKER_GUNICORN_WORKER_CLASS SAGEMAKER_INSTALL_REQUIREMENTS SAGEMAKER_MAX_PAYLOAD_IN_MB
SAGEMAKER_MODEL_SERVER_TIMEOUT SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS
SAGEMAKER_MODEL_SERVER_WORKERS SAGEMAKER_MULTI_MODEL SAGEMAKER_PROGRAM
SAGEMAKER_SUBMIT_DIRECTORY SAGEMAKER_TRAINING_MODULE
"""
"""What the container reads, as docs/environment.md lists it."""
_LIKENESS: Final = 0.9  # of SAGEMAKER_MODEL_SERVER_VMARGS, which others read, and ..._WORKERS: 0.85


def flag(name: str, environ: Mapping[str, str], *, default: bool = False) -> bool:
    """Return whether a variable is on; the default if it is empty. Raises: UserError."""
    text = environ.get(name, "").strip().lower()
    if text and text not in BOOLEANS:
        raise UserError(f"{name}={environ[name]!r}: expected one of {', '.join(BOOLEANS)}")
    return BOOLEANS.get(text, default)


def find_misspelt(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each variable that is unknown and looks as if it were for us.

    Other programs read variables that begin with `SAGEMAKER_`, so only a name like one of ours
    counts; each one that begins with `BYO_` does.
    """
    known = _NAMES.split()
    for name in sorted(environ.keys() - set(known)):
        written = name.upper().replace("-", "_")
        if not written.startswith((_OURS, "SAGE")):
            continue
        import difflib  # few environments have such a variable

        near = difflib.get_close_matches(written, known, n=1, cutoff=_LIKENESS)
        if near:
            yield f"the variable {name} is unknown and has no effect; did you mean {near[0]}?"
        elif written.startswith(_OURS):
            yield f"the variable {name} is unknown and has no effect; see docs/environment.md"
