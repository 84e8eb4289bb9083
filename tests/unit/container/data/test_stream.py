"""Sets larger than memory, splits and the data report."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

from container import contract
from container.data import gathering, loading, sets
from container.data import stream as streams
from container.data.formats.parts import Options
from container.data.images import LabeledImages
from container.data.stream import Stream
from container.errors import PlatformError

COUNT = 1000


@pytest.fixture
def layout(tmp_path: Path) -> contract.Layout:
    """Make a channel of 1000 numbered 2x2 images, sorted by their ten classes, in two files."""
    channel = tmp_path / "input/data/train"
    channel.mkdir(parents=True)
    rows = [f"{i // 100},{i // 256},{i % 256},0,255\n" for i in range(COUNT)]
    (channel / "a.csv").write_text("".join(rows[:300]))
    (channel / "b.csv").write_text("".join(rows[300:]))
    return contract.Layout(tmp_path)


def open_channel(layout: contract.Layout, budget_bytes: int) -> LabeledImages | Stream:
    return loading.open_channel(
        layout, contract.Channel("train"), Options(memory_budget_bytes=budget_bytes)
    )


def open_stream(layout: contract.Layout) -> Stream:
    stream = open_channel(layout, 1)
    assert isinstance(stream, Stream)
    return stream


def number(block: LabeledImages) -> np.ndarray:
    """Return the numbers of a block's images; check that labels and pixels still match."""
    pixels = block.images.reshape(-1, 4).astype(int)
    numbers = pixels[:, 0] * 256 + pixels[:, 1]
    assert (pixels[:, 2:] == [0, 255]).all()
    assert np.array_equal(block.labels, numbers // 100)
    return numbers


def test_set_within_its_budget_comes_back_in_memory(layout: contract.Layout) -> None:
    loaded = open_channel(layout, 100_000)
    assert isinstance(loaded, LabeledImages)
    assert np.array_equal(number(loaded), np.arange(COUNT))


@pytest.mark.parametrize("budget_bytes", [0, 1, 1500])
def test_set_beyond_its_budget_comes_back_as_a_stream_of_every_image(
    layout: contract.Layout, budget_bytes: int
) -> None:
    for epoch in range(2):
        stream = open_channel(layout, budget_bytes)
        assert isinstance(stream, Stream)
        assert stream.classes == tuple(range(10))
        assert stream.image_shape == (2, 2, 1)
        assert np.bincount(stream.labels).tolist() == [100] * 10
        numbers = np.concatenate([number(block) for block in stream.blocks(epoch, seed=3)])
        assert np.array_equal(np.sort(numbers), np.arange(COUNT))


def test_blocks_are_multiples_of_the_batch_and_mix_the_whole_set(
    layout: contract.Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "BLOCK_BYTES", 4 * 210)
    monkeypatch.setattr(streams, "_RUN_BYTES", 4 * 5)
    blocks = list(open_stream(layout).blocks(0, seed=1, multiple=20))
    assert [len(block.labels) for block in blocks] == [200] * 5
    for block in blocks:
        assert len(set(block.labels.tolist())) >= 8


def test_blocks_repeat_by_seed_and_epoch(
    layout: contract.Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "_RUN_BYTES", 4 * 5)
    stream = open_stream(layout)

    def read(epoch: int, seed: int) -> list[int]:
        return [value for block in stream.blocks(epoch, seed) for value in number(block).tolist()]

    assert read(0, 1) == read(0, 1)
    assert read(0, 1) != read(1, 1)
    assert read(0, 1) != read(0, 2)


def test_reader_of_blocks_may_leave_early(
    layout: contract.Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "BLOCK_BYTES", 40)
    blocks = open_stream(layout).blocks(0, seed=1)
    assert len(next(blocks).labels) == 10
    blocks.close()  # type: ignore[attr-defined]


def test_scratch_space_that_is_full_is_named(
    layout: contract.Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_full_device(prefix: str) -> tuple[int, str]:
        (layout.base / prefix).touch()
        return os.open("/dev/full", os.O_RDWR), str(layout.base / prefix)

    monkeypatch.setattr("tempfile.mkstemp", open_full_device)
    with pytest.raises(
        PlatformError, match=r"memory budget and .*No space left on device, after 0 bytes"
    ):
        open_channel(layout, 1)


def test_split_holds_out_a_share_that_the_seed_chooses(layout: contract.Layout) -> None:
    whole = open_channel(layout, 100_000)
    assert isinstance(whole, LabeledImages)
    parts = [[number(part) for part in sets.split(whole, 0.25, seed)] for seed in (1, 1, 2)]
    for rest, held_out in parts:
        assert (len(rest), len(held_out)) == (750, 250)
        assert np.array_equal(np.sort(np.concatenate([rest, held_out])), np.arange(COUNT))
    assert np.array_equal(parts[0][1], parts[1][1])
    left_out = dataclasses.replace(whole, rejected=("row 1",), notes=("1 .txt",))
    rest, held_out = sets.split(left_out, 0.25, 1)
    assert (rest.rejected, rest.notes) == (("row 1",), ("1 .txt",))
    assert (held_out.rejected, held_out.notes) == ((), ())  # reported once
    assert not np.array_equal(parts[0][1], parts[2][1])


@pytest.mark.parametrize("fraction", [0.0001, 0.9999])
def test_split_leaves_both_parts_an_image(layout: contract.Layout, fraction: float) -> None:
    whole = open_channel(layout, 100_000)
    assert isinstance(whole, LabeledImages)
    assert min(len(part.labels) for part in sets.split(whole, fraction, 0)) == 1


def test_split_of_a_stream_holds_out_the_same_images_as_in_memory(layout: contract.Layout) -> None:
    whole = open_channel(layout, 100_000)
    assert isinstance(whole, LabeledImages)
    expected = [number(part) for part in sets.split(whole, 0.25, 7)]
    parts = sets.split(open_stream(layout), 0.25, 7)
    for part, numbers in zip(parts, expected, strict=True):
        blocks = [number(block) for block in part.blocks(0, seed=1, multiple=8)]
        assert np.array_equal(np.sort(np.concatenate(blocks)), numbers)


def test_mapped_stream_gives_the_images_in_their_order_and_cannot_be_written(
    layout: contract.Layout,
) -> None:
    stream = open_stream(layout)
    assert np.array_equal(number(stream.mapped()), np.arange(COUNT))
    held_out = sets.split(stream, 0.1, 7)[1].mapped()
    assert stream.mapped().locate(999).endswith("/b.csv, row 700")
    places = [stream.mapped().locate(index) for index in number(held_out).tolist()]
    assert list(held_out.names) == places
    del stream
    assert np.array_equal(held_out.labels, number(held_out) // 100)
    with pytest.raises(ValueError, match="read-only"):
        held_out.images[0] = 0


def test_load_maps_what_takes_too_much_of_the_memory(
    layout: contract.Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "_default_budget_bytes", lambda: 1000)
    loaded = loading.load(layout.base / "input/data/train")
    assert np.array_equal(number(loaded), np.arange(COUNT))
    assert not loaded.images.flags.writeable


def test_budget_beyond_the_machines_memory_is_no_fault(layout: contract.Layout) -> None:
    assert isinstance(open_channel(layout, 10**15), LabeledImages)


@pytest.mark.parametrize("exists", [True, False])
def test_channel_without_files_is_empty_where_that_is_allowed(exists: bool, tmp_path: Path) -> None:
    if exists:
        (tmp_path / "input/data/train").mkdir(parents=True)
    channel = contract.Channel("train", distribution="ShardedByS3Key")
    empty = loading.open_channel(contract.Layout(tmp_path), channel, allow_empty=True)
    assert isinstance(empty, LabeledImages)
    assert (empty.images.shape, len(empty.labels), empty.classes) == ((0, 0, 0, 0), 0, ())


def test_report_counts_classes_and_tells_what_was_skipped(layout: contract.Layout) -> None:
    (layout.base / "input/data/train/c.csv").write_text(
        "1,2,3,4,5\n1,2,3,4,x\n" + "2,300,0,0,0\n" * 6
    )
    channel = contract.Channel("train")
    text = sets.describe(
        loading.open_channel(layout, channel, Options(bad_record_limit=100)), "training"
    )
    assert text.startswith("training: 1,001 images of 2x2x1 in 10 classes\n")
    assert "0: 100, 1: 101, 2: 100" in text
    assert "skipped 7 records" in text
    assert "c.csv, row 2, column 5: 'x'" in text
    assert text.endswith("and 2 more")


def test_report_of_many_classes_gives_the_range(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(
        "".join(f"{i},1,2,3,4\n" for i in range(50)) + "49,1,2,3,4\n"
    )
    text = sets.describe(loading.load(tmp_path), "test")
    assert "1 (0) to 2 (49), median 1" in text
