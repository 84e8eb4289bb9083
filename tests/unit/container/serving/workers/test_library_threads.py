"""The processors are divided among workers, unless the user says otherwise."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from container import contract, machine
from container.serving import server
from container.serving.workers import library_threads

MEGABYTE = 2**20


@pytest.mark.parametrize(
    ("model_bytes", "free_bytes", "workers", "expected"),
    [
        (0, 4096 * MEGABYTE, 8, 1),  # eight workers of one thread
        (0, 4096 * MEGABYTE, 2, 4),
        (0, 4096 * MEGABYTE, 3, 2),
        (0, 4096 * MEGABYTE, 16, 1),
        (468 * MEGABYTE, 4096 * MEGABYTE, 8, 2),  # four fit
        (3000 * MEGABYTE, 4096 * MEGABYTE, 8, 8),  # hardly one fits
        (3000 * MEGABYTE, -1, 8, 8),
    ],
)
def test_few_large_workers_have_more_threads(
    model_bytes: int, free_bytes: int, workers: int, expected: int, tmp_path: Path
) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "gone").symlink_to(tmp_path / "nothing")
    with (tmp_path / "code/weights").open("wb") as file:
        file.truncate(model_bytes)

    assert library_threads.choose(tmp_path, 8, free_bytes, workers) == expected


def test_a_variable_that_the_user_has_set_stays() -> None:
    environ = {"MKL_NUM_THREADS": "7"}
    library_threads.offer(environ, 2)

    assert environ == {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "7", "OPENBLAS_NUM_THREADS": "2"}


@pytest.mark.parametrize(
    ("text", "expected"), [("3", 3), ("4,2", 4), (" 2 ", 2), ("", 16), ("0", 16), ("all", 16)]
)
def test_models_without_code_obey_the_variable(
    text: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    monkeypatch.setattr(machine, "count_threads", lambda: 16)

    assert machine.count_library_threads() == expected


def test_a_server_of_user_code_divides_the_processors(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code = tmp_path / "model/code"
    code.mkdir(parents=True)
    (code / "inference.py").write_text("def model_fn(model_dir): ...\n")
    for name in library_threads.VARIABLES:
        monkeypatch.setenv(name, "")  # so that it is restored
        monkeypatch.delenv(name)
    monkeypatch.setattr(machine, "count_cpus", lambda: 8.0)
    monkeypatch.setattr(server._Server, "run", lambda _: None)  # noqa: SLF001 - no gunicorn
    monkeypatch.setattr(os, "register_at_fork", lambda **_: None)

    assert server.main(contract.Layout(tmp_path), {"SAGEMAKER_MODEL_SERVER_WORKERS": "2"}) == 0
    assert {os.environ[name] for name in library_threads.VARIABLES} == {"4"}
