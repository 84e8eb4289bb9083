"""The waterfall of a training job."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from container.training import phases
from tests.support import ROOT


@pytest.fixture(autouse=True)
def nothing_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phases, "_found", {})


def test_phases_come_in_their_order_and_a_repeated_one_counts_once() -> None:
    with phases.measure("outer"):
        for _ in range(2):
            with phases.measure("inner"):
                time.sleep(0.01)
    with pytest.raises(ValueError, match="fails"), phases.measure("last"):
        raise ValueError("it fails")
    found = phases.list_phases()
    assert list(found) == ["outer", "inner", "last"]
    assert found["outer"][0] <= found["inner"][0] < found["inner"][1] < found["outer"][1]
    assert found["outer"][1] <= found["last"][0]


def test_time_counts_from_the_start_of_the_process() -> None:
    program = (
        "import time; started = time.monotonic(); time.sleep(0.5)\n"
        "from container.training import phases\n"
        "with phases.measure('late'): pass\n"
        "begin = phases.list_phases()['late'][0]\n"
        "assert begin >= 0.5, begin\n"
        "assert begin >= time.monotonic() - started - 0.5, begin"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
    now = time.monotonic()
    assert phases._find_process_start(Path("/no/such/file")) >= now  # noqa: SLF001 - the fallback


def test_the_drawing_has_a_line_and_a_bar_for_each_phase() -> None:
    with phases.measure("reading"):
        time.sleep(0.01)
    title, line = phases.draw()
    assert title.split() == ["begin", "seconds"]
    assert line.split()[2:4][0] == "reading"
    assert line.endswith("#")


@pytest.mark.parametrize(
    ("level", "is_debugging"), [("debug", True), ("DEBUG", True), ("10", True), ("info", False)]
)
def test_the_platforms_log_level_decides(level: str, is_debugging: bool) -> None:
    assert phases.is_debugging({"SAGEMAKER_CONTAINER_LOG_LEVEL": level}) is is_debugging
    assert not phases.is_debugging({})
