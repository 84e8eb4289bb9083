"""docs/environment.md lists exactly the variables that the sources read, each with its readers."""

import re

import pytest

from tests.support import ROOT
from tests.unit.docs import environment_reads

PAGE = (ROOT / "docs/environment.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(\w+)` \| (.+) \| (.*) \| (.*) \| (.+) \|$", re.MULTILINE)


@pytest.fixture(scope="module")
def reads() -> dict[str, set[str]]:
    return environment_reads.find_reads()


def test_every_variable_that_is_read_is_on_the_page_once(reads: dict[str, set[str]]) -> None:
    assert sorted(row[0] for row in ROW.findall(PAGE)) == sorted(reads)


@pytest.mark.parametrize("row", ROW.findall(PAGE), ids=lambda row: row[0])
def test_the_page_names_the_readers(row: tuple[str, ...], reads: dict[str, set[str]]) -> None:
    name, meaning, values, _, readers = row

    assert meaning
    assert values
    assert set(re.findall(r"`([^`]+)`", readers)) == reads.get(name)


def test_reads_are_found_in_every_form(reads: dict[str, set[str]]) -> None:
    """The kinds of reads that the sources have, one variable of each."""
    forms = {
        "TF_CPP_MIN_LOG_LEVEL": "in",
        "CA_REPOSITORY_ARN": "subscript",
        "XDG_DATA_HOME": "get",
        "TF_ENABLE_ONEDNN_OPTS": "setdefault",
        "SAGEMAKER_PROGRAM": "a name of the contract",
        "AWS_ACCESS_KEY_ID": "one of several names",
        "TMPDIR": "a comprehension",
        "PIP_CONFIG_FILE": "the second of a pair",
        "BYO_RUNTIME": "a setting",
        "PYTHON": "shell",
    }

    assert not set(forms) - set(reads)
