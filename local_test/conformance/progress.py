"""How far a conformance run is, and about how long the rest takes.

The estimate knows what each session took with the bundled trainer. It scales that by how fast the
container under test has been so far, separately for its jobs and its servers.
"""

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from local_test.conformance.catalog import Verdict


@dataclass(frozen=True)
class Stage:
    """A session as people read it, and what it took with the bundled trainer on two cores."""

    title: str
    kind: Literal["image", "job", "server"]
    seconds: float


STAGES: Final[Mapping[str, Stage]] = {
    "IMG-4a": Stage("description of the image", "image", 0),
    "IMG-1a": Stage("plain training job", "job", 40),
    "TF-2a": Stage("all that the platform may add to a job", "job", 40),
    "HP-2a": Stage("encodings of hyperparameters", "job", 20),
    "DS-1a": Stage("training on two hosts", "job", 85),
    "IN-3a": Stage("protected directories, no network", "job", 50),
    "OUT-1b": Stage("training that fails", "job", 13),
    "OUT-8a": Stage("stop of a training job", "job", 3),
    "CK-1a": Stage("checkpoints", "job", 32),
    "IMG-2a": Stage("processing job", "job", 2),
    "IMG-1b": Stage("start of a server", "server", 2),
    "HO-10a": Stage("stop of a server", "server", 3),
    "HO-6b": Stage("model that does not load", "server", 1),
    "HO-12a": Stage("killed worker", "server", 2),
    "HO-4a": Stage("requests and answers", "server", 5),
    "BT-2a": Stage("server of a batch job", "server", 2),
    "SEC-1b": Stage("server without network", "server", 1),
    "IMG-12b": Stage("what the labels promise", "server", 1),
    "MME-6a": Stage("server of several models", "server", 2),
    "SRV-1b": Stage("serverless endpoint", "server", 2),
    "ASY-1a": Stage("asynchronous endpoint", "server", 2),
}
"""By the first check of each session."""


class Progress:
    """Counts verdicts and estimates the rest; a thread that draws may ask at any time."""

    def __init__(
        self,
        sessions: Sequence[Collection[str]],
        identities: Collection[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`sessions` holds the checks of each session that runs, in this order."""
        self._lock = threading.Lock()
        self._clock = clock
        self._total = len(identities)
        self._outcomes: dict[str, Verdict] = {}
        self._waiting = [STAGES[next(iter(ids))] for ids in sessions]
        self._current: Stage | None = None
        self._began = clock()
        self._is_judged = False
        """Whether the current session judged the container at all."""
        self._spent: dict[str, float] = {}
        """Seconds that the sessions of each kind took."""
        self._expected: dict[str, float] = {}
        """Seconds that the same sessions took with the bundled trainer."""

    def begin(self) -> None:
        """Note that the next session begins, so that the one before has ended."""
        with self._lock:
            now = self._clock()
            if self._current is not None and self._is_judged:
                self._learn(self._current, now - self._began)
            self._current = self._waiting.pop(0)
            self._began = now
            self._is_judged = False

    def _learn(self, stage: Stage, took_s: float) -> None:
        if stage.seconds:
            self._spent[stage.kind] = self._spent.get(stage.kind, 0.0) + took_s
            self._expected[stage.kind] = self._expected.get(stage.kind, 0.0) + stage.seconds

    def count(self, verdict: Verdict) -> None:
        """Count a verdict; a later one on the same check replaces it."""
        with self._lock:
            self._outcomes[verdict.check.id] = verdict
            self._is_judged |= verdict.outcome != "not applicable"

    def _estimate_s(self) -> float | None:
        """Return about how many seconds are left; None if that cannot be known.

        That is so in a session that takes longer than expected, while nothing is known about the
        container or nothing follows.
        """
        left_s = sum(self._expect(stage) for stage in self._waiting)
        if self._current is not None:
            rest_s = self._expect(self._current) - (self._clock() - self._began)
            if rest_s < 0 and not (self._spent and self._waiting):
                return None
            left_s += max(0.0, rest_s)
        return left_s

    def _expect(self, stage: Stage) -> float:
        """Return how long a session takes, by the sessions of its kind or else by all."""
        kinds = [stage.kind] if stage.kind in self._expected else list(self._expected)
        expected_s = sum(self._expected[kind] for kind in kinds)
        pace = sum(self._spent[kind] for kind in kinds) / expected_s if expected_s else 1.0
        return stage.seconds * pace

    def describe(self) -> str:
        """Return the progress in one line."""
        with self._lock:
            return self._describe()

    def _describe(self) -> str:
        text = f"{len(self._outcomes)} of {self._total} checks"
        violations = sum(verdict.is_violation for verdict in self._outcomes.values())
        if violations:
            text += f", {violations} violated"
        if len(self._outcomes) == self._total:
            return text
        left_s = self._estimate_s()
        if left_s is not None:
            text += f", {round_time(left_s)} left"
            if not self._spent:
                text += " at the speed of the bundled trainer"
        if self._current is not None:
            text += f"; now: {self._current.title}"
        return text


def round_time(seconds: float) -> str:
    """Word a time as roughly as it is known."""
    if seconds < 10:
        return "a few seconds"
    if seconds < 95:
        return f"about {round(seconds, -1):.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"about {minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"about {hours} h {minutes} min"
