"""Pipe mode: channels come from FIFOs, written as the platform writes (IN-4 to IN-9)."""

from __future__ import annotations

import dataclasses
import os
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from container import contract
from container.data import gathering, loading, sets
from container.data.formats.parts import Options
from container.data.images import LabeledImages
from container.data.stream import Stream
from container.errors import UserError

ROWS = b"7,0,10,255,9\n8,1,2,3,4\n"


@pytest.fixture
def layout(tmp_path: Path) -> contract.Layout:
    (tmp_path / "input/data").mkdir(parents=True)
    return contract.Layout(tmp_path)


@contextmanager
def written(
    layout: contract.Layout, objects: Sequence[bytes], *, late: bool = False
) -> Iterator[None]:
    """Write objects to the FIFO of epoch 0 while the test reads; a reader may leave early."""
    fifo = layout.base / "input/data/train_0"
    started = threading.Event()

    def write() -> None:
        if late:
            started.wait(60)
        if not fifo.exists():
            os.mkfifo(fifo)
        try:
            with fifo.open("wb", buffering=0) as stream:
                for content in objects:
                    stream.write(content)
        except BrokenPipeError:
            pass

    if not late:
        os.mkfifo(fifo)
    writer = threading.Thread(target=write)
    writer.start()
    started.set()
    try:
        yield
    finally:
        if writer.is_alive():  # the reader never came: let the writer's open return
            os.close(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK))
        writer.join(60)
    assert not writer.is_alive()


def wrap(content: bytes, flag: int = 0) -> bytes:
    """Wrap one object as a RecordIO record (IN-6)."""
    head = struct.pack("<II", 0xCED7230A, flag << 29 | len(content))
    return head + content + bytes(-len(content) % 4)


def make_channel(wrapper: str = "None", content_type: str | None = None) -> contract.Channel:
    return contract.Channel(
        "train", content_type=content_type, input_mode="Pipe", record_wrapper=wrapper
    )


def encode(values: Sequence[int], tmp_path: Path) -> bytes:
    Image.fromarray(np.array(values, np.uint8).reshape(2, 2)).save(tmp_path / "picture.png")
    return (tmp_path / "picture.png").read_bytes()


def check(loaded: LabeledImages | Stream) -> None:
    assert isinstance(loaded, LabeledImages)
    assert loaded.images[..., 0].tolist() == [[[0, 10], [255, 9]], [[1, 2], [3, 4]]]
    assert loaded.classes == (7, 8)
    assert loaded.labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    "objects",
    [
        [ROWS],
        [ROWS[:13], ROWS[13:]],
        [b"label,a,b,c,d\n" + ROWS[:13], b"label,a,b,c,d\n" + ROWS[13:]],
        [bytes([byte]) for byte in ROWS],
    ],
    ids=["one object", "two objects", "a header in each object", "byte by byte"],
)
def test_csv_objects_are_read_one_after_another(
    layout: contract.Layout, objects: list[bytes]
) -> None:
    with written(layout, objects):
        check(loading.open_channel(layout, make_channel()))


def test_pipe_that_the_platform_makes_late_is_waited_for(layout: contract.Layout) -> None:
    with written(layout, [ROWS], late=True):
        check(loading.open_channel(layout, make_channel()))


def test_csv_objects_in_recordio_need_no_newline_at_their_end(layout: contract.Layout) -> None:
    with written(
        layout, [wrap(b"label,a,b,c,d\n" + ROWS[:12]), wrap(b"label,a,b,c,d\n" + ROWS[13:-1])]
    ):
        check(loading.open_channel(layout, make_channel("RecordIO", "text/csv")))


def test_augmented_manifest_gives_pictures_and_labels_in_turn(
    layout: contract.Layout, tmp_path: Path
) -> None:
    pictures = [encode([0, 10, 255, 9], tmp_path), encode([1, 2, 3, 4], tmp_path)]
    with written(layout, [wrap(pictures[0]), wrap(b"7"), wrap(pictures[1]), wrap(b'"8"')]):
        check(loading.open_channel(layout, make_channel("RecordIO", "application/x-recordio")))


def test_record_that_was_cut_at_the_magic_is_joined_again(
    layout: contract.Layout, tmp_path: Path
) -> None:
    magic = struct.pack("<I", 0xCED7230A)
    pictures = [encode([0, 10, 255, 9], tmp_path) + magic + b"tail", encode([1, 2, 3, 4], tmp_path)]
    first, rest = pictures[0].split(magic)
    with written(
        layout, [wrap(first, 1), wrap(rest, 3), wrap(b"7"), wrap(pictures[1]), wrap(b"8")]
    ):
        check(loading.open_channel(layout, make_channel("RecordIO")))


def test_tfrecord_objects_are_read_with_and_without_wrapper(
    layout: contract.Layout, formats: Path
) -> None:
    expected = loading.load(formats / "tfrecord")
    objects = [path.read_bytes() for path in sorted((formats / "tfrecord").iterdir())]
    with written(layout, objects):
        plain = loading.open_channel(layout, make_channel())
    (layout.base / "input/data/train_0").unlink()
    with written(layout, [wrap(content) for content in objects]):
        wrapped = loading.open_channel(layout, make_channel("RecordIO"))
    for loaded in (plain, wrapped):
        assert isinstance(loaded, LabeledImages)
        assert np.array_equal(loaded.images, expected.images)
        assert np.array_equal(loaded.labels, expected.labels)


@pytest.mark.parametrize(
    ("wrapper", "objects", "reason"),
    [
        ("None", [], "holds no rows"),
        ("None", [b"\x89PNG\r\n\x1a\n" * 9], "carries csv or tfrecord, not images"),
        ("None", [ROWS[:-1], ROWS], "9 columns, expected 5"),
        ("RecordIO", [ROWS], "no RecordIO record begins at byte 0"),
        ("RecordIO", [wrap(ROWS)[:-4]], "ends within the RecordIO record at byte 0"),
        ("RecordIO", [wrap(b"nothing known")], "expected pictures with labels, csv or tfrecord"),
        ("RecordIO", [wrap(b"\x89PNG")], "picture without a label"),
    ],
)
def test_fault_names_the_pipe_and_the_reason(
    layout: contract.Layout, wrapper: str, objects: list[bytes], reason: str
) -> None:
    with written(layout, objects), pytest.raises(UserError) as caught:
        loading.open_channel(layout, make_channel(wrapper))
    assert reason in str(caught.value)
    assert "train_0" in str(caught.value)


def test_reader_that_finds_a_fault_closes_the_pipe_early(layout: contract.Layout) -> None:
    with (
        written(layout, [b"7,0,10,255,x\n", *[ROWS * 10_000] * 20]),
        pytest.raises(UserError, match="row 1"),
    ):
        loading.open_channel(layout, make_channel())


@contextmanager
def fed(layout: contract.Layout, content: bytes) -> Iterator[list[int]]:
    """Fill one FIFO after the other, one for each epoch, as the platform does.

    Yields the bytes that were taken from each.
    """
    taken: list[int] = []
    is_over = threading.Event()
    fifo = layout.base / "input/data/train_0"
    os.mkfifo(fifo)

    def feed() -> None:
        epoch = 0
        while not is_over.is_set():
            taken.append(0)
            try:
                with (layout.base / f"input/data/train_{epoch}").open("wb", buffering=0) as stream:
                    for start in range(0, len(content), 65_536):
                        taken[epoch] += stream.write(content[start : start + 65_536])
            except BrokenPipeError:
                pass
            epoch += 1
            os.mkfifo(layout.base / f"input/data/train_{epoch}")

    writer = threading.Thread(target=feed, daemon=True)
    writer.start()
    try:
        yield taken
    finally:
        is_over.set()
        while writer.is_alive():
            newest = layout.base / f"input/data/train_{len(taken) - 1}"
            os.close(os.open(newest, os.O_RDONLY | os.O_NONBLOCK))
            writer.join(0.02)


COUNT = 1000
NUMBERED = "".join(f"{i % 7},{i // 256},{i % 256},0,255\n" for i in range(COUNT)).encode()


def number(images: np.ndarray) -> list[int]:
    return (images[:, 0, 0, 0].astype(int) * 256 + images[:, 0, 1, 0]).tolist()


def test_pipe_that_memory_does_not_hold_is_opened_anew_for_every_pass_and_leaves_nothing_on_disk(
    layout: contract.Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "BLOCK_BYTES", 4 * 150)
    monkeypatch.setattr("tempfile.mkstemp", None)  # a scratch file would need it
    with fed(layout, NUMBERED) as taken:
        stream = loading.open_channel(layout, make_channel(), Options(memory_budget_bytes=100))
        assert isinstance(stream, Stream)
        assert len(stream.labels) == COUNT
        assert number(stream.sample())[:3] == [0, 1, 2]
        for epoch in (1, 2):
            blocks = list(stream.blocks(epoch, seed=0, multiple=40))
            assert [len(block.labels) for block in blocks] == [120] * 8 + [40]
            assert [i for block in blocks for i in number(block.images)] == list(range(COUNT))
            assert [i for block in blocks for i in block.labels.tolist()] == [
                i % 7 for i in range(COUNT)
            ]
        assert taken[:3] == [len(NUMBERED)] * 3


def test_pipe_that_is_closed_early_ends_its_epoch_and_the_next_pass_has_all_images(
    layout: contract.Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "BLOCK_BYTES", 4 * 100)
    content = NUMBERED * 1000
    with fed(layout, content) as taken:
        stream = loading.open_channel(layout, make_channel(), Options(memory_budget_bytes=0))
        assert isinstance(stream, Stream)
        blocks = stream.blocks(0, 0)
        assert number(next(blocks).images) == list(range(100))
        blocks.close()  # type: ignore[attr-defined]
        assert sum(len(block.labels) for block in stream.blocks(1, 0)) == 1000 * COUNT
        assert taken[1] < len(content)
        assert taken[2] == len(content)


def test_part_of_a_pipe_that_memory_does_not_hold_can_be_held_out(layout: contract.Layout) -> None:
    with fed(layout, NUMBERED):
        whole = loading.open_channel(layout, make_channel(), Options(memory_budget_bytes=0))
        training, held_out = sets.split(whole, 0.1, 3)
        assert isinstance(training, Stream)
        assert isinstance(held_out, Stream)
        assert len(held_out.labels) == 100
        found = number(training.mapped().images) + number(held_out.mapped().images)
        assert sorted(found) == list(range(COUNT))


def test_pipe_that_brings_fewer_images_than_at_first_is_told(layout: contract.Layout) -> None:
    with fed(layout, NUMBERED):
        whole = loading.open_channel(layout, make_channel(), Options(memory_budget_bytes=0))
        assert isinstance(whole, Stream)
        more = dataclasses.replace(whole, labels=np.concatenate([whole.labels, whole.labels]))
        with pytest.raises(
            UserError, match="delivered 1,000 images in an epoch, but 2,000 in the first"
        ):
            list(more.blocks(0, 0))
