"""The tf.data pipeline: its order, and what leaves it at faults."""

from __future__ import annotations

import gc
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from container import contract
from container.data import loading
from container.data import stream as streams
from container.data.formats.parts import DecodingTask, Options, Part, Task, Unpacked
from container.data.stream import PipedStream, ScratchFile, ScratchStream
from container.errors import PlatformError, UserError
from container.training.input import pipeline
from container.training.step.source import Source


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


@pytest.fixture
def stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScratchStream:
    """Make a set of 1000 numbered images of four pixels, streamed in ten blocks."""
    monkeypatch.setattr(streams, "BLOCK_BYTES", 4 * 110)
    monkeypatch.setattr(streams, "_RUN_BYTES", 4 * 5)
    channel = tmp_path / "input/data/train"
    channel.mkdir(parents=True)
    rows = (f"{i % 3},{i // 256},{i % 256},0,0\n" for i in range(1000))
    (channel / "rows.csv").write_text("".join(rows))
    options = Options(memory_budget_bytes=0)
    found = loading.open_channel(contract.Layout(tmp_path), contract.Channel("train"), options)
    assert isinstance(found, ScratchStream)
    return found


def number(block: Any) -> list[int]:
    """Return the numbers of a block's images, in the order of the steps."""
    pixels = block[0].numpy().reshape(-1, 4).astype(int)
    assert (block[1].numpy() == (pixels[:, 0] * 256 + pixels[:, 1]) % 3).all()
    numbers: list[int] = (pixels[:, 0] * 256 + pixels[:, 1])[block[2].numpy()].tolist()
    return numbers


def test_a_pass_has_every_image_once_in_an_order_of_its_own(stream: ScratchStream) -> None:
    passes = [
        [number(block) for block in pipeline.read_blocks(stream, (7, epoch), 10, 0)]
        for epoch in (0, 1, 0)
    ]
    assert [len(block) for block in passes[0]] == [110] * 9 + [10]
    for blocks in passes:
        assert sorted(itertools.chain(*blocks)) == list(range(1000))
    assert passes[0] == passes[2]
    assert passes[0] != passes[1]
    assert passes[0][0] != sorted(passes[0][0])


def test_a_pass_begins_at_any_block_without_reading_those_before(
    stream: ScratchStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = [number(block) for block in pipeline.read_blocks(stream, (7, 0), 10, 0)]
    read_bytes = []
    read = ScratchFile.read

    def count(self: ScratchFile, content: np.ndarray, offset: int) -> None:
        read_bytes.append(content.nbytes)
        read(self, content, offset)

    monkeypatch.setattr(ScratchFile, "read", count)
    rest = [number(block) for block in pipeline.read_blocks(stream, (7, 0), 10, 7)]
    assert rest == blocks[7:]
    assert sum(read_bytes) == 4 * 230


def test_a_source_finds_a_step_in_the_middle_of_a_pass_by_reading_its_block(
    stream: ScratchStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(source: Source, step: int) -> list[int]:
        block = source.find_block(step)
        at = (step - block.first_step) * 10
        return number((block.images, block.labels, block.order[at : at + 10]))

    straight = Source(stream, 10, seed=3)
    expected = [find(straight, step) for step in range(200)]
    firsts: list[int] = []
    blocks = ScratchStream.blocks

    def record(self: ScratchStream, epoch: int, seed: int, *, multiple: int, first: int) -> Any:
        firsts.append(first)
        return blocks(self, epoch, seed, multiple=multiple, first=first)

    monkeypatch.setattr(ScratchStream, "blocks", record)
    for step in (0, 57, 99, 100, 163):
        resumed = Source(stream, 10, seed=3)
        firsts.clear()
        later = range(step, min(step + 30, 200))
        assert [find(resumed, each) for each in later] == expected[step : step + 30]
        assert firsts[0] == step % 100 // 11


def test_a_pass_that_is_left_early_closes_its_pipe() -> None:
    closed = threading.Event()

    def read() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        try:
            for _ in range(100):
                yield np.zeros((10, 1, 1, 1), np.uint8), np.zeros(10, np.int64)
        finally:
            closed.set()

    piped = PipedStream(
        read=read,
        labels=np.zeros(1000, np.int32),
        classes=(0,),
        image_shape=(1, 1, 1),
        first_classes=(0,),
        first_images=np.zeros((1, 1, 1, 1), np.uint8),
        block_bytes=10,
    )
    blocks = pipeline.read_blocks(piped, (0, 0), 5, 2)
    assert len(next(blocks)[1]) == 10
    del blocks
    gc.collect()
    assert closed.wait(60)


def test_a_fault_of_the_scratch_space_arrives_as_it_is(stream: ScratchStream) -> None:
    class Truncated(ScratchFile):
        def read(self, content: np.ndarray, offset: int) -> None:
            if offset > 2000:
                raise PlatformError("the scratch file of the images was truncated")
            super().read(content, offset)

    stream.scratch.__class__ = Truncated
    with pytest.raises(PlatformError, match="was truncated"):
        list(pipeline.read_blocks(stream, (7, 0), 10, 0))
