"""When each phase of a training job began and ended, for its log and history.json.

A process trains once, so this module holds the phases of its job.
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_WIDTH: Final = 40
_DEBUG: Final = ("debug", "10")
_found: Final[dict[str, list[float]]] = {}  # begin and end on the monotonic clock


@contextmanager
def measure(name: str) -> Iterator[None]:
    """Measure what is done inside, also if it fails; of several times only the first."""
    moments = [time.monotonic()]
    try:
        yield
    finally:
        moments.append(time.monotonic())
        _found.setdefault(name, moments)


def list_phases() -> dict[str, list[float]]:
    """Return begin and end of each phase, in seconds since the process started, in their order."""
    start = _find_process_start()
    ordered = sorted(_found.items(), key=lambda entry: entry[1])
    return {name: [round(moment - start, 3) for moment in moments] for name, moments in ordered}


def draw() -> list[str]:
    """Draw one line a phase: its begin, its seconds, its name and a bar."""
    found = list_phases()
    scale = _WIDTH / max([stop for _, stop in found.values()], default=1.0)
    lines = ["   begin  seconds"]
    for name, (begin, stop) in found.items():
        bar = " " * round(scale * begin) + "#" * max(1, round(scale * (stop - begin)))
        lines.append(f"{begin:8.2f} {stop - begin:8.2f}  {name:24} |{bar}")
    return lines


def is_debugging(environ: Mapping[str, str]) -> bool:
    """Return whether the log level of the container is debug."""
    return environ.get("SAGEMAKER_CONTAINER_LOG_LEVEL", "").strip().lower() in _DEBUG


def _find_process_start(process: Path = Path("/proc/self/stat")) -> float:
    """Return when this process started, on the monotonic clock; now if that is not known."""
    now = time.monotonic()
    try:
        ticks = int(process.read_text(encoding="utf-8").rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return now
    age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return now - max(0.0, age_s)
