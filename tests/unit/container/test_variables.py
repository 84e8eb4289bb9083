"""Environment variables that are misspelt are not ignored in silence."""

import re

import pytest

from container import variables
from container.errors import UserError
from tests.unit.docs import environment_reads

# Variables of the platform, of the SDKs and of other containers.
FOREIGN = (
    *("SAGEMAKER_MODEL_SERVER_VMARGS", "SAGEMAKER_MULTI_MODEL_MODE", "SAGEMAKER_TFS_BATCH"),
    *("SAGEMAKER_REGION", "SAGEMAKER_JOB_NAME", "SAGEMAKER_TS_BATCH_SIZE", "PATH", "BYOC"),
)


def test_the_known_names_are_those_that_the_container_reads() -> None:
    reads = environment_reads.find_reads()
    ours = {
        name
        for name, readers in reads.items()
        if any(reader.startswith("container/") for reader in readers)
    }
    assert {name for name in ours if re.match("BYO_|SAGEMAKER_", name)} == set(
        variables._NAMES.split()  # noqa: SLF001 - the list itself
    )


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("SAGEMAKER_MODEL_SERVER_WORKER", "SAGEMAKER_MODEL_SERVER_WORKERS"),
        ("SAGEMKER_PROGRAM", "SAGEMAKER_PROGRAM"),
        ("sagemaker-batch", "SAGEMAKER_BATCH"),
        ("BYO_RUNTME", "BYO_RUNTIME"),
        ("BYO_COLOR", ""),
    ],
)
def test_a_misspelt_name_is_said_with_the_nearest_one(name: str, near: str) -> None:
    environ = dict.fromkeys((name, *FOREIGN, *variables._NAMES.split()), "1")  # noqa: SLF001
    [text] = variables.find_misspelt(environ)
    end = f"did you mean {near}?" if near else "see docs/environment.md"
    assert text == f"the variable {name} is unknown and has no effect; {end}"


@pytest.mark.parametrize(
    ("text", "expected"), [("On", True), (" 0 ", False), ("", True), ("no", False)]
)
def test_a_flag_has_many_forms(text: str, *, expected: bool) -> None:
    assert variables.flag("X", {"X": text}, default=True) is expected
    with pytest.raises(UserError, match="X='ture': expected one of true, 1, yes, on, false"):
        variables.flag("X", {"X": "ture"})
