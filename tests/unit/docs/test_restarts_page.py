"""docs/restarts.md: each kind of work and of state has a row, and a test."""

import re

from local_test.aws.account.kinds import ALL
from tests.contract.aws.interrupted import WORK
from tests.contract.aws.kept_states import STATES
from tests.support import ROOT

PAGE = (ROOT / "docs/restarts.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and line.endswith("` |")
]


def test_each_kind_of_work_and_of_state_has_a_row_and_a_test() -> None:
    assert sorted(row[-1].strip("`") for row in ROWS) == sorted([*WORK, *STATES])


def test_each_kind_of_records_has_a_row() -> None:
    named = {name for row in ROWS if row[-1].strip("`") in STATES for name in find_names(row[2])}

    assert named == set(ALL)


def find_names(cell: str) -> list[str]:
    return re.findall(r"`([a-z0-9-]+)`", cell)
