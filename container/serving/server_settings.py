"""Every setting of the server, read once from the environment.

Rules of this file: pure; defaults are defined here only; all faults are reported at once.
"""

import re
import select
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from container import artifact, contract
from container.errors import UserError
from container.hyperparameters import BOOLEANS
from container.serving.bodies import media_types

T = TypeVar("T")

WORKER_CLASSES: Final = ("event", "gthread")
RUNTIMES: Final = ("auto", *artifact.RUNTIMES)
BAD_RECORDS: Final = ("placeholder", "refuse")
LOG_FORMATS: Final = ("text", "json")
LOG_LEVELS: Final = ("debug", "info", "warning", "error", "critical")
# Each of these settings has several names.
WORKERS_VARIABLES: Final = ("SAGEMAKER_MODEL_SERVER_WORKERS", "SAGEMAKER_GUNICORN_WORKERS")
_TIMEOUT_VARIABLES: Final = (
    "SAGEMAKER_MODEL_SERVER_TIMEOUT",
    "SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS",
    "SAGEMAKER_GUNICORN_TIMEOUT_SECONDS",
)
_LOG_LEVEL_VARIABLES: Final = (
    "SAGEMAKER_GUNICORN_LOGLEVEL",
    "SAGEMAKER_CONTAINER_LOG_LEVEL",
    "LOG_LEVEL",
)
_LOG_LEVEL_NAMES: Final = {
    **dict(zip(("10", "20", "30", "40", "50"), LOG_LEVELS, strict=True)),
    **dict.fromkeys(("0", "notset", "trace", "all"), "debug"),
    "warn": "warning",
    **dict.fromkeys(("fatal", "off"), "critical"),
}
"""Python's numbers, and the names that other languages have."""
_TIMEOUT_S_MAXIMUM: Final = 24 * 3600
_MEDIA_TYPE: Final = re.compile(r"[\w.+-]+/[\w.+-]+", re.ASCII)
GUNICORN_VARIABLE: Final = "GUNICORN_CMD_ARGS"
_GUNICORN_OPTIONS: Final = {
    **dict.fromkeys(("-w", "--workers"), WORKERS_VARIABLES[0]),
    **dict.fromkeys(("-t", "--timeout"), _TIMEOUT_VARIABLES[0]),
    "--threads": "SAGEMAKER_GUNICORN_THREADS",
    **dict.fromkeys(("-k", "--worker-class"), "SAGEMAKER_GUNICORN_WORKER_CLASS"),
    **dict.fromkeys(("-b", "--bind"), contract.BIND_TO_PORT_VARIABLE),
    "--log-level": _LOG_LEVEL_VARIABLES[1],
}
_MEBIBYTE: Final = 1024**2


@dataclass(frozen=True)
class Settings:
    """How the server listens, how much it accepts and how long it waits."""

    port: int = contract.DEFAULT_PORT
    """TCP port on all interfaces (HO-1)."""
    workers: int = 0
    """Processes; 0 lets the server choose by the model's speed."""
    threads: int = 16
    """Threads of a `gthread` worker that read requests."""
    worker_class: str = "event" if hasattr(select, "epoll") else "gthread"
    """`event` is ours; `gthread` is gunicorn's, with Flask in front of every request."""
    timeout_s: int = contract.INVOCATION_LIMIT_S
    """A request is answered within this time, or its worker is replaced."""
    runtime: str = "auto"
    """The runtime that predicts; `auto` chooses by the artifact and the machine."""
    batch_images: int = 0
    """The most images of different requests that are predicted together; 0 lets the runtime decide,
    1 keeps requests apart."""
    batch_delay_ms: int = 2
    """The longest that a prediction waits for requests that are expected."""
    queue_requests: int = 64
    """Requests of a worker that may wait for their turn; more are answered with 503 at once."""
    handler_threads: int = 1
    """Requests of a worker that call a user's handlers at the same time."""
    payload_bytes: int = contract.REALTIME_PAYLOAD_BYTES
    """The largest request body; a larger one is refused with 413 (HO-9)."""
    default_accept: str = media_types.JSON
    """The media type of the answer for a client that accepts anything (RQ-4)."""
    batch: bool = False
    """Whether this is a transform job: no newline follows the last line of an answer (BT-8)."""
    multi_model: bool = False
    """Whether this is a multi-model endpoint, which starts without a model (MME-1)."""
    model_processes: int = 0
    """The most models of a multi-model endpoint that have a process; 0 is as many as memory may
    hold."""
    preload: bool = False
    """Whether user code is loaded before the workers are forked, which then share its memory."""
    placeholders: bool = False
    """Whether a line that cannot be decoded is answered with a placeholder; otherwise the request
    is refused with 400 (BT-9)."""
    model: str = ""
    """Which of several third-party models is served: a path in the model directory."""
    allow_pickle: bool = False
    """Whether third-party models that are pickles, which run code, may be loaded."""
    log_level: str = "info"
    """The lowest severity that is logged."""
    log_format: str = "text"
    """How a line of the log is written."""


def parse(environ: Mapping[str, str]) -> Settings:
    """Read the settings.

    Raises: UserError that names every variable with a wrong value, and what is possible.
    """
    reader = _Reader(environ)
    batch = reader.flag(contract.BATCH_VARIABLE)
    default = Settings()
    limit = default.payload_bytes
    bad_records = "refuse"
    timeout_s = default.timeout_s
    if batch:
        limit = contract.TRANSFORM_PAYLOAD_BYTES
        bad_records = "placeholder"
        timeout_s = 3600
    # 0 announces chunked bodies of any length (BT-6).
    payload_mb = reader.integer(contract.MAX_PAYLOAD_VARIABLE, limit // _MEBIBYTE, 0, 2048)
    bad_records = reader.choice("BYO_BAD_RECORDS", bad_records, BAD_RECORDS)
    settings = Settings(
        port=reader.integer(contract.BIND_TO_PORT_VARIABLE, default.port, 1, 65535),
        workers=reader.integer(WORKERS_VARIABLES, default.workers, 1, 1024),
        threads=reader.integer("SAGEMAKER_GUNICORN_THREADS", default.threads, 1, 1024),
        worker_class=reader.choice(
            "SAGEMAKER_GUNICORN_WORKER_CLASS", default.worker_class, WORKER_CLASSES
        ),
        timeout_s=reader.integer(_TIMEOUT_VARIABLES, timeout_s, 1, _TIMEOUT_S_MAXIMUM),
        runtime=reader.choice("BYO_RUNTIME", default.runtime, RUNTIMES),
        batch_images=reader.integer("BYO_BATCH_IMAGES", default.batch_images, 1, 1024),
        batch_delay_ms=reader.integer("BYO_BATCH_DELAY_MS", default.batch_delay_ms, 0, 1000),
        queue_requests=reader.integer("BYO_QUEUE_REQUESTS", default.queue_requests, 1, 100_000),
        handler_threads=reader.integer("BYO_HANDLER_THREADS", default.handler_threads, 1, 256),
        payload_bytes=payload_mb * _MEBIBYTE or limit,
        default_accept=reader.media_type(contract.DEFAULT_ACCEPT_VARIABLE, default.default_accept),
        batch=batch,
        multi_model=reader.flag(contract.MULTI_MODEL_VARIABLE),
        model_processes=reader.integer("BYO_MODEL_PROCESSES", default.model_processes, 1, 4096),
        preload=reader.flag("BYO_PRELOAD"),
        placeholders=bad_records == "placeholder",
        model=environ.get("BYO_MODEL", "").strip(),
        allow_pickle=reader.flag("BYO_ALLOW_PICKLE"),
        log_level=reader.choice(
            _LOG_LEVEL_VARIABLES, default.log_level, LOG_LEVELS, _LOG_LEVEL_NAMES
        ),
        log_format=reader.choice("BYO_LOG_FORMAT", default.log_format, LOG_FORMATS),
    )
    if reader.faults:
        raise UserError.from_faults(
            "wrong server setting" + "s" * (len(reader.faults) > 1), reader.faults
        )
    return settings


def check_default_accept(settings: Settings, offered: Sequence[str]) -> None:
    """Check that a model without handlers can answer in the default media type.

    Raises: UserError that names the variable and what is possible.
    """
    if settings.default_accept not in offered:
        raise UserError(
            f"{contract.DEFAULT_ACCEPT_VARIABLE}={settings.default_accept!r}: this model answers "
            f"{', '.join(offered)}; other types need an output_fn in code/inference.py"
        )


def explain_gunicorn(environ: Mapping[str, str]) -> str:
    """Return what to set in place of gunicorn's own variable, which has no effect; "" if unset."""
    given = environ.get(GUNICORN_VARIABLE, "").strip()
    if not given:
        return ""
    words = [word for word in given.split() if word.startswith("-")]
    options = [word.partition("=")[0] if word.startswith("--") else word[:2] for word in words]
    known = [
        f"{_GUNICORN_OPTIONS[option]} in place of {option}"
        for option in options
        if option in _GUNICORN_OPTIONS
    ]
    message = f"{GUNICORN_VARIABLE} has no effect"
    if known:
        message += f": set {', '.join(known)}"
    unknown = [option for option in options if option not in _GUNICORN_OPTIONS]
    if unknown:
        message += f"; this server has no setting for {', '.join(unknown)[:200]}"
    return message


class _Reader:
    """Reads variables and collects what is wrong with them.

    Where a setting has several names, the first one that is set wins.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.faults: list[str] = []

    def flag(self, name: str) -> bool:
        def convert(text: str) -> bool:
            if text.lower() not in BOOLEANS:  # BT-2: local mode writes True
                raise ValueError
            return BOOLEANS[text.lower()]

        return self._read(name, default=False, convert=convert, possible="true or false")

    def integer(self, names: str | Sequence[str], default: int, low: int, high: int) -> int:
        def convert(text: str) -> int:
            if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
                raise ValueError
            return int(text)

        return self._read(names, default, convert, f"an integer from {low} to {high}")

    def choice(
        self,
        names: str | Sequence[str],
        default: str,
        choices: Sequence[str],
        aliases: Mapping[str, str] | None = None,
    ) -> str:
        def convert(text: str) -> str:
            value = (aliases or {}).get(text.lower(), text.lower())
            if value not in choices:
                raise ValueError
            return value

        return self._read(names, default, convert, "one of " + ", ".join(choices))

    def media_type(self, name: str, default: str) -> str:
        def convert(text: str) -> str:
            media_type = text.partition(";")[0].strip().lower()
            if media_type == "*/*":
                return default
            if not _MEDIA_TYPE.fullmatch(media_type) or "," in text:
                raise ValueError
            return media_types.unify(media_type)

        return self._read(name, default, convert, "a media type, such as text/csv")

    def _read(
        self, names: str | Sequence[str], default: T, convert: Callable[[str], T], possible: str
    ) -> T:
        for name in [names] if isinstance(names, str) else names:
            text = self._environ.get(name, "").strip()
            if not text:
                continue
            try:
                return convert(text)
            except ValueError:
                self.faults.append(f"{name}={text!r}: expected {possible} (default {default!r})")
                return default
        return default
