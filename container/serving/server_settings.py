"""Every setting of the server, read once from the environment.

Rules of this file: pure; defaults live here and nowhere else; all faults are reported at once.
"""

from __future__ import annotations

import re
import select
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from container import artifact, contract
from container.errors import UserError
from container.serving.bodies import encoding, media_types

T = TypeVar("T")

WORKER_CLASSES: Final = ("event", "asgi", "gthread", "sync")
RUNTIMES: Final = ("auto", *artifact.RUNTIMES)
LOG_FORMATS: Final = ("text", "json")
LOG_LEVELS: Final = ("debug", "info", "warning", "error", "critical")
_LOG_LEVEL_NUMBERS: Final = {
    "10": "debug",
    "20": "info",
    "30": "warning",
    "40": "error",
    "50": "critical",
}
_NAMESPACE: Final = re.compile(r"(?!AWS/)[0-9A-Za-z._/#:-]{1,255}")
_PAIR: Final = re.compile(
    r"(?P<name>[0-9A-Za-z._/#-]{1,250}) *= *(?P<value>[\x21-\x7e][\x20-\x7e]{0,1023})"
)
_MEBIBYTE: Final = 1024**2


@dataclass(frozen=True)
class Settings:
    """How the server listens, how much it takes and how long it waits."""

    port: int = contract.DEFAULT_PORT
    """TCP port on all interfaces (HO-1)."""
    workers: int = 0
    """Processes; 0 lets the server choose by the model's speed."""
    threads: int = 16
    """Threads of a worker that read requests; predictions take turns."""
    worker_class: str = "event" if hasattr(select, "epoll") else "gthread"
    """`event` is ours; the others are gunicorn's, with Flask in front of every request."""
    timeout_s: int = contract.INVOCATION_LIMIT_S
    """A request is answered within this time, or its worker is replaced."""
    runtime: str = "auto"
    """Which of the artifact's models predicts, and with what; `auto` is chosen from the artifact and the machine."""
    batch_images: int = 0
    """The most images of different requests that are predicted together; 0 lets the runtime decide, 1 is none."""
    batch_delay_ms: int = 2
    """The longest that a prediction waits for requests that are expected."""
    queue_requests: int = 64
    """Requests of a worker that may wait for their turn; more are answered 503 at once."""
    payload_bytes: int = contract.REALTIME_PAYLOAD_BYTES
    """The largest request body; a larger one is refused with 413 (HO-9)."""
    default_accept: str = media_types.JSON
    """The answer's media type for a client that accepts anything (RQ-4)."""
    batch: bool = False
    """Whether this is a transform job: the last line of an answer is then not closed by a newline (BT-8)."""
    multi_model: bool = False
    """Whether this is a multi-model endpoint, which starts without a model (MME-1)."""
    placeholders: bool = False
    """Whether a line that cannot be decoded is answered by a placeholder instead of 400 for the whole body (BT-9)."""
    log_level: str = "info"
    """The least severe line that is logged."""
    log_format: str = "text"
    """How a line of the log is written."""
    emf_namespace: str = ""
    """Namespace of CloudWatch in which lines of embedded metrics are written; none are if it is empty."""
    emf_dimensions: tuple[tuple[str, str], ...] = ()
    """Names and values of the dimensions of embedded metrics."""
    emf_interval_s: int = 60
    """Time between two lines of embedded metrics."""


def parse(environ: Mapping[str, str]) -> Settings:
    """Read the settings.

    Raises: UserError naming every variable whose value is not possible, and what is.
    """
    reader = _Reader(environ)
    batch = environ.get(contract.BATCH_VARIABLE, "").strip().lower() in (
        "true",
        "1",
    )  # BT-2: local mode writes True
    limit = contract.TRANSFORM_PAYLOAD_BYTES if batch else contract.REALTIME_PAYLOAD_BYTES
    settings = Settings(
        port=reader.integer([contract.BIND_TO_PORT_VARIABLE], Settings.port, 1, 65535),
        workers=reader.integer(
            ["SAGEMAKER_MODEL_SERVER_WORKERS", "SAGEMAKER_GUNICORN_WORKERS"],
            Settings.workers,
            1,
            1024,
        ),
        threads=reader.integer(["SAGEMAKER_GUNICORN_THREADS"], Settings.threads, 1, 1024),
        worker_class=reader.choice(
            ["SAGEMAKER_GUNICORN_WORKER_CLASS"], Settings.worker_class, WORKER_CLASSES
        ),
        timeout_s=reader.integer(
            [
                "SAGEMAKER_MODEL_SERVER_TIMEOUT",
                "SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS",
                "SAGEMAKER_GUNICORN_TIMEOUT_SECONDS",
            ],
            3600 if batch else Settings.timeout_s,
            1,
            3600,
        ),
        runtime=reader.choice(["BYO_RUNTIME"], Settings.runtime, RUNTIMES),
        batch_images=reader.integer(["BYO_BATCH_IMAGES"], Settings.batch_images, 1, 1024),
        batch_delay_ms=reader.integer(["BYO_BATCH_DELAY_MS"], Settings.batch_delay_ms, 0, 1000),
        queue_requests=reader.integer(["BYO_QUEUE_REQUESTS"], Settings.queue_requests, 1, 100_000),
        # 0 announces chunked bodies of any length (BT-6).
        payload_bytes=reader.integer([contract.MAX_PAYLOAD_VARIABLE], limit // _MEBIBYTE, 0, 2048)
        * _MEBIBYTE
        or limit,
        default_accept=reader.choice(
            [contract.DEFAULT_ACCEPT_VARIABLE], media_types.JSON, tuple(encoding.ENCODERS)
        ),
        batch=batch,
        multi_model=environ.get(contract.MULTI_MODEL_VARIABLE, "").strip().lower() in ("true", "1"),
        placeholders=reader.choice(
            ["BYO_BAD_RECORDS"], "placeholder" if batch else "refuse", ("placeholder", "refuse")
        )
        == "placeholder",
        log_level=reader.choice(
            ["SAGEMAKER_GUNICORN_LOGLEVEL", "SAGEMAKER_CONTAINER_LOG_LEVEL"],
            Settings.log_level,
            LOG_LEVELS,
            _LOG_LEVEL_NUMBERS,
        ),
        log_format=reader.choice(["BYO_LOG_FORMAT"], Settings.log_format, LOG_FORMATS),
        emf_namespace=reader.text(
            ["BYO_EMF_NAMESPACE"],
            Settings.emf_namespace,
            _NAMESPACE,
            "a namespace of CloudWatch, as Team/Models: letters, digits, . - _ / # : and none that starts with AWS/",
        ),
        emf_dimensions=reader.pairs(["BYO_EMF_DIMENSIONS"], Settings.emf_dimensions, 30),
        emf_interval_s=reader.integer(["BYO_EMF_INTERVAL_S"], Settings.emf_interval_s, 1, 3600),
    )
    if reader.faults:
        raise UserError.from_faults(
            "wrong server setting" + "s" * (len(reader.faults) > 1), reader.faults
        )
    return settings


class _Reader:
    """Reads variables and collects what is wrong with them; of several names for one setting the first one set wins."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.faults: list[str] = []

    def integer(self, names: Sequence[str], default: int, low: int, high: int) -> int:
        def convert(text: str) -> int | None:
            return (
                int(text)
                if text.isascii() and text.isdigit() and low <= int(text) <= high
                else None
            )

        return self._read(names, default, convert, f"an integer from {low} to {high}")

    def choice(
        self,
        names: Sequence[str],
        default: str,
        choices: Sequence[str],
        aliases: Mapping[str, str] | None = None,
    ) -> str:
        def convert(text: str) -> str | None:
            value = (aliases or {}).get(text.lower(), text.lower())
            return value if value in choices else None

        return self._read(names, default, convert, "one of " + ", ".join(choices))

    def text(
        self, names: Sequence[str], default: str, pattern: re.Pattern[str], possible: str
    ) -> str:
        return self._read(
            names, default, lambda text: text if pattern.fullmatch(text) else None, possible
        )

    def pairs(
        self, names: Sequence[str], default: tuple[tuple[str, str], ...], pairs_maximum: int
    ) -> tuple[tuple[str, str], ...]:
        def convert(text: str) -> tuple[tuple[str, str], ...] | None:
            items = [_PAIR.fullmatch(item.strip()) for item in text.split(",")]
            found = tuple((item["name"], item["value"]) for item in items if item)
            return found if len(dict(found)) == len(items) <= pairs_maximum else None

        return self._read(
            names, default, convert, f"up to {pairs_maximum} pairs as Name=value,Other=value"
        )

    def _read(
        self, names: Sequence[str], default: T, convert: Callable[[str], T | None], possible: str
    ) -> T:
        for name in names:
            text = self._environ.get(name, "").strip()
            if text:
                value = convert(text)
                if value is None:
                    self.faults.append(
                        f"{name}={text!r}: expected {possible} (default {default!r})"
                    )
                    return default
                return value
        return default
