"""The key of a directory: made once, for its owner only."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from container.errors import PlatformError
from local_test.aws.process import keys


def test_a_directory_keeps_its_key_and_shares_it_with_nobody(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    key = keys.load_or_make(tmp_path)
    assert keys.load_or_make(tmp_path) == keys.load(tmp_path) == key
    assert keys.load_or_make(tmp_path / "other") != key
    assert stat.S_IMODE((tmp_path / "keys.json").stat().st_mode) == 0o600
    assert (len(key.id), len(key.secret)) == (20, 40)
    assert key.secret not in repr(keys.make())


@pytest.mark.parametrize("text", [None, "", "{}", "[1]"])
def test_a_key_that_cannot_be_read_is_named(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "keys.json").write_text(text)
    with pytest.raises(PlatformError, match=r"cannot read .*keys\.json"):
        keys.load(tmp_path)
