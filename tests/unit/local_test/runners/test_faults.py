"""Faults: how they are written, and when they are injected."""

from __future__ import annotations

import pytest

from container.errors import UserError
from local_test import patterns
from local_test.runners import faults


def test_a_fault_is_read_with_its_moment_and_host() -> None:
    fault = faults.parse("kill@2.5s/algo-2")

    assert (fault.kind, fault.after_s, fault.host) == ("kill", 2.5, "algo-2")
    pattern = faults.parse("spot@/epoch=3;/").pattern
    assert pattern is not None
    assert pattern.search("x epoch=3; y")
    for wrong in ("spot", "explode@1s", "spot@soon", "spot@/(/", "spot@/a{99999999999}/"):
        with pytest.raises(UserError):
            faults.parse(wrong)


@pytest.mark.parametrize(
    "text",
    ["kill", "kill@", "slow-dns@/x/", "spot@2", "clock@1s", "truncated-model@1s", "kill@/(/"],
)
def test_a_fault_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(UserError):
        faults.parse(text, {**faults.JOB_KINDS, **faults.SERVER_KINDS})


def test_a_log_line_injects_a_fault_once() -> None:
    injected: list[str] = []
    waiting = [faults.parse("kill@/epoch=3/"), faults.parse("stop@/epoch/")]
    trigger = faults.Trigger(waiting, lambda fault: injected.append(fault.kind))

    for line in ("begin", "epoch=2", "epoch=3", "epoch=3"):
        trigger.see(line)

    assert injected == ["stop", "kill"]


def test_a_fault_whose_pattern_takes_too_long_is_left_out_and_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(patterns, "LIMIT_S", 0.5)
    injected: list[str] = []
    notes: list[str] = []
    waiting = [faults.parse("kill@/(a+)+$/"), faults.parse("stop@/x=1/")]
    trigger = faults.Trigger(waiting, lambda fault: injected.append(fault.kind), notes.append)
    for _ in range(2):
        trigger.see("x=1 " + "a" * 40 + "!")
    assert injected == ["stop"]
    [note] = notes
    assert note.startswith("the fault kill is not injected: the pattern '(a+)+$' takes more than")
    assert not trigger.expects("kill")


def test_a_fault_of_the_start_is_taken_once() -> None:
    trigger = faults.Trigger([faults.parse("slow-start@2.5s")], lambda _: None)

    assert trigger.expects("slow-start")
    assert (trigger.take("slow-start"), trigger.take("slow-start")) == (2.5, None)
