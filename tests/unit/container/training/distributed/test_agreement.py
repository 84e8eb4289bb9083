"""Hosts compare what they hold at the end of a job."""

from __future__ import annotations

from typing import Any

import numpy as np

from container.contract import Resources
from container.training.distributed import agreement
from container.training.distributed.rendezvous import Hosts


class Two(Hosts):
    """Two hosts, of which the other one has a checksum."""

    def __init__(self, other: str) -> None:
        super().__init__(Resources(hosts=("a", "b"), current_host="a"))
        self.other = other
        self.own = ""

    def exchange(self, value: Any) -> list[Any]:  # noqa: D102 - see Hosts
        self.own = value
        return [value, self.other or value]


def test_a_difference_in_one_bit_is_a_warning_and_none_is_said() -> None:
    state = {"weights": np.arange(4, dtype=np.float32), "statistics": np.zeros(2, np.float32)}
    lines: list[str] = []
    agreement.compare(Hosts(), state, 7, lines.append)
    assert lines == []  # there is no other host
    same = Two("")
    agreement.compare(same, state, 7, lines.append)
    changed = {**state, "weights": np.nextafter(state["weights"], np.float32(9))}
    agreement.compare(Two(same.own), changed, 7, lines.append)
    assert lines[0] == f"all 2 hosts hold the same weights after 7 steps (checksum {same.own})"
    assert lines[1].startswith("warning: the weights of the hosts differ after 7 steps")
