"""How much of a conformance run is left, by the known cost of its sessions and the pace so far."""

from __future__ import annotations

from pathlib import Path

import pytest

from local_test.conformance import run as conformance
from local_test.conformance.catalog import CHECKS, Verdict, skip
from local_test.conformance.progress import STAGES, Progress, round_time
from local_test.conformance.subject import Subject


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


PLAIN, HOSTS, START, BROKEN = ("IMG-1a",), ("DS-1a",), ("IMG-1b",), ("HO-6b",)


def make_progress(*sessions: tuple[str, ...]) -> tuple[Progress, Clock]:
    clock = Clock()
    identities = [identity for ids in sessions for identity in ids]
    return Progress(sessions, identities, clock), clock


def test_every_session_has_a_stage_and_every_stage_a_session() -> None:
    firsts = [ids[0] for ids, _ in conformance.list_sessions(CHECKS)]
    assert sorted(STAGES) == sorted(firsts)
    assert len({stage.title for stage in STAGES.values()}) == len(STAGES)
    for identity, stage in STAGES.items():
        groups = {
            "image": conformance.IMAGE_IDS,
            "job": conformance.TRAINING_IDS,
            "server": conformance.SERVING_IDS,
        }
        assert identity in groups[stage.kind]


def test_the_pace_of_the_container_scales_what_is_left() -> None:
    progress, clock = make_progress(PLAIN, HOSTS, BROKEN)
    progress.begin()
    all_s = sum(STAGES[ids[0]].seconds for ids in (PLAIN, HOSTS, BROKEN))
    assert progress.describe().endswith(
        f"{round_time(all_s)} left at the speed of the bundled trainer; now: plain training job"
    )
    clock.now += 10 * STAGES["IMG-1a"].seconds  # ten times slower
    progress.count(Verdict(CHECKS["IMG-1a"], "pass", "seen"))
    progress.begin()
    left_s = 10 * (all_s - STAGES["IMG-1a"].seconds)
    assert progress.describe() == (
        f"1 of 3 checks, {round_time(left_s)} left; now: training on two hosts"
    )
    clock.now += 60
    progress.count(Verdict(CHECKS["DS-1a"], "fail", "seen"))
    assert f"2 of 3 checks, 1 violated, {round_time(left_s - 60)} left" in progress.describe()


def test_servers_have_a_pace_of_their_own_as_soon_as_one_was_judged() -> None:
    progress, clock = make_progress(PLAIN, START, BROKEN)
    progress.begin()
    clock.now += 100 * STAGES["IMG-1a"].seconds
    progress.count(Verdict(CHECKS["IMG-1a"], "pass", "seen"))
    progress.begin()
    assert "about 5 min left" in progress.describe()
    clock.now += STAGES["IMG-1b"].seconds
    progress.count(Verdict(CHECKS["IMG-1b"], "pass", "seen"))
    progress.begin()
    assert "a few seconds left" in progress.describe()


def test_a_session_that_is_skipped_says_nothing_about_the_pace() -> None:
    progress, _ = make_progress(PLAIN, HOSTS, START)
    progress.begin()
    progress.count(skip("IMG-1a", "not run"))
    progress.begin()
    assert "at the speed of the bundled trainer" in progress.describe()


def test_nothing_is_promised_when_the_first_or_last_session_takes_longer_than_expected() -> None:
    progress, clock = make_progress(PLAIN, HOSTS)
    progress.begin()
    clock.now += 2 * STAGES["IMG-1a"].seconds
    assert progress.describe() == "0 of 2 checks; now: plain training job"
    progress.count(Verdict(CHECKS["IMG-1a"], "pass", "seen"))
    progress.begin()
    assert "left" in progress.describe()
    clock.now += 3 * STAGES["DS-1a"].seconds
    assert progress.describe() == "1 of 2 checks; now: training on two hosts"
    progress.count(Verdict(CHECKS["DS-1a"], "pass", "seen"))
    assert progress.describe() == "2 of 2 checks"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "a few seconds"),
        (9.9, "a few seconds"),
        (14, "about 10 s"),
        (94, "about 90 s"),
        (95, "about 2 min"),
        (3540, "about 59 min"),
        (3599, "about 1 h 0 min"),
        (7260, "about 2 h 1 min"),
    ],
)
def test_times_are_as_rough_as_they_are_known(seconds: float, text: str) -> None:
    assert round_time(seconds) == text


def test_run_reports_each_session_before_its_verdicts(tmp_path: Path) -> None:
    subject = Subject(runner=None, directory=tmp_path, image={"Size": 1})
    identities = ("IMG-4a", "SRV-1a")
    events: list[str] = []

    conformance.run(
        subject,
        identities,
        on_verdict=lambda verdict: events.append(verdict.check.id),
        on_session=lambda: events.append("session"),
    )

    assert events == ["session", *identities]
    assert len(conformance.list_sessions(identities)) == 1
