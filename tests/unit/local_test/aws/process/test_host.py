"""The process that serves the local AWS."""

from __future__ import annotations

from pathlib import Path

import pytest

from local_test.aws.process import host


@pytest.mark.parametrize("text", ["", "none", "-5", "70000"])
def test_a_damaged_port_of_the_last_start_is_replaced(text: str, tmp_path: Path) -> None:
    (tmp_path / "port").write_text(text)
    with host._listen_anew(tmp_path, 0) as listener:  # noqa: SLF001 - `run` serves until a signal
        assert (tmp_path / "port").read_text() == str(listener.getsockname()[1])
