"""What a model directory should not hold."""

from __future__ import annotations

import pytest

from container.user_packages import versions
from local_test.conformance.subject import RUBBISH


@pytest.mark.parametrize("name", [".git/config", "a/.cache", "x.tmp", "code/__pycache__/x.pyc"])
def test_hidden_and_temporary_files_are_rubbish(name: str) -> None:
    assert RUBBISH.search(name)


@pytest.mark.parametrize("name", [versions.FILE_NAME, "model.json", "code/inference.py"])
def test_what_serving_reads_is_not(name: str) -> None:
    assert not RUBBISH.search(name)
