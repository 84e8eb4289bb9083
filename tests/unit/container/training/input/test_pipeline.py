"""The tf.data pipeline: its order, and what leaves it at faults."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from container.data.formats.parts import DecodingTask, Part, Task, Unpacked
from container.errors import UserError
from container.training.input import pipeline


def make_task(number: int) -> DecodingTask:
    def unpack() -> Unpacked:
        return Unpacked([bytes([number])], [str(number)], [f"place {number}"], [])

    def decode(content: bytes) -> np.ndarray:
        if content == b"\x05":
            raise ValueError("it is five")
        return np.full((1, 1, 1), content[0], np.uint8)

    return DecodingTask(unpack, decode, (1, 1, 1))


def test_tasks_keep_their_order_and_their_faults() -> None:
    def report() -> Part:
        return Part(np.empty((0, 1, 1, 1), np.uint8), [], str, ["damaged"])

    def make_tasks() -> Iterator[Task]:
        yield report
        yield from map(make_task, range(1, 20))

    parts = [task() for task in pipeline.decode(make_task(0), make_tasks(), threads=2)]
    assert [label for part in parts for label in part.labels] == [
        str(number) for number in range(20) if number != 5
    ]
    assert [pixel for part in parts for pixel in part.images.ravel().tolist()] == [
        number for number in range(20) if number != 5
    ]
    assert [fault for part in parts for fault in part.faults] == ["damaged", "place 5: it is five"]


def test_a_fault_of_the_reader_comes_after_the_tasks_before_it() -> None:
    def make_tasks() -> Iterator[Task]:
        yield make_task(1)
        raise UserError("the archive ends early")

    decoded = pipeline.decode(make_task(0), make_tasks(), threads=2)
    assert [next(decoded)().labels for _ in range(2)] == [["0"], ["1"]]
    with pytest.raises(UserError, match="the archive ends early"):
        next(decoded)
