"""What a model's process answers; test_template.py starts real ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from container.errors import UserError
from container.serving import model_program, server_settings
from container.serving.exchange import Response


def give(*pieces: bytes, fails: bool = False) -> Iterator[bytes]:
    yield from pieces
    if fails:
        message = "no more"
        raise RuntimeError(message)


def test_a_streamed_answer_is_joined() -> None:
    whole = Response(200, b"whole", "a/b")
    assert model_program.join(whole) is whole
    joined = model_program.join(Response(200, b"1", "a/b", rest=give(b"2", b"3")))
    assert joined == Response(200, b"123", "a/b")


def test_a_stream_that_fails_is_a_500() -> None:
    failed = model_program.join(Response(200, b"1", rest=give(b"2", fails=True)))
    assert (failed.status, failed.rest) == (500, None)


def test_a_directory_without_code_and_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no longer holds code or a model"):
        model_program.prepare(
            tmp_path, {"SAGEMAKER_BASE_DIR": str(tmp_path)}, server_settings.Settings()
        )
