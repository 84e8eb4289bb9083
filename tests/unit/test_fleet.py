"""benchmarks/fleet.py: its fleets are those that target tracking makes, minute by minute."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import fleet
from benchmarks.fleet import Fleet

SMALL = Fleet(requests_a_minute=100, load=0.5, start_minutes=2, least=2, most=50)


def test_steady_traffic_needs_a_steady_fleet() -> None:
    outcome = fleet.simulate([200.0] * 60, SMALL)

    assert outcome == fleet.keep([200.0] * 60, SMALL) == fleet.Outcome(4 * 60, 4, 0, 0)


def test_a_rise_overloads_the_fleet_until_new_instances_answer() -> None:
    """Minutes 10, 11 and 12 raise the alarm; what starts then answers in minute 15."""
    traffic = [100.0] * 10 + [1000.0] * 20

    outcome = fleet.simulate(traffic, SMALL)

    assert outcome.overloaded_minutes == 5
    assert outcome.requests_too_many == 5 * (1000 - 2 * 100)
    assert outcome.largest == 20
    assert outcome.instance_minutes == 13 * 2 + 17 * 20  # paid from minute 13


def test_quiet_minutes_shrink_the_fleet_after_a_quarter_of_an_hour() -> None:
    outcome = fleet.simulate([1000.0] * 5 + [100.0] * 20, SMALL)

    assert outcome.instance_minutes == 20 * (5 + 15) + 2 * 5
    assert outcome.requests_too_many == 0


def test_a_short_peak_is_not_followed_and_limits_hold() -> None:
    peak = [100.0] * 5 + [1000.0] * 2 + [100.0] * 5
    assert fleet.simulate(peak, SMALL).largest == 2
    assert fleet.simulate([1e9] * 30, SMALL).largest == 50
    assert fleet.simulate([0.0] * 30, SMALL).largest == 2


def test_a_fixed_fleet_is_paid_for_its_busiest_minute() -> None:
    assert fleet.keep([100.0] * 9 + [1000.0], SMALL) == fleet.Outcome(200, 20, 0, 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-29T10:00:05\n2026-11-29T10:00:59Z\n\n2026-11-29T10:02:00+00:00\n", [2, 0, 1]),
        ("2026-11-29T10:01:00Z\t30.0\n2026-11-29T10:00:00Z\t60.0\n", [60, 30]),
        ("120,5\n185.5 7\n", [5, 7]),
    ],
)
def test_logs_of_requests_and_of_minutes_are_read(text: str, expected: list[float]) -> None:
    assert fleet.read(text.splitlines()) == expected


@pytest.mark.parametrize("line", ["yesterday", "120,many", "GET /ping"])
def test_a_line_that_is_not_a_time_is_named(line: str) -> None:
    with pytest.raises(ValueError, match=f"line 2: '{line}'"):
        fleet.read(["60,1", line])


def test_the_command_prints_what_each_fleet_costs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"{60 * minute},6000\n" for minute in range(60)))

    assert fleet.main([str(log), "--rate", "100", "--price", "0.12", "--times", "1000"]) == 0

    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["fleet"] for row in rows] == ["scaled", "fixed"]
    assert all(row["instance_hours"] == row["largest"] == 1000 for row in rows)
    assert all(row["dollars"] == 120 for row in rows)
