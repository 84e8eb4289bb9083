"""Hosts with different shards agree on the classes that one host would find."""

from __future__ import annotations

import itertools
import json
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from container.data import loading
from container.data.formats.parts import Options
from container.data.images import LabeledImages
from container.errors import UserError
from container.training.distributed import shares
from container.training.input.channels import Sets

SPELLINGS = ("7", "007", "7.0", "+7", "8", "08", "-3", "cat", "9007199254740993")


class Meeting:
    """What the hosts of a job tell each other, as JSON, from one thread each."""

    def __init__(self, count: int) -> None:
        """Wait for `count` hosts in each exchange."""
        self.values: list[str] = [""] * count
        self.barrier = threading.Barrier(count, timeout=60)


class HostOfMeeting:
    """A host as `rendezvous.Hosts`, whose peers are threads: TensorFlow would take seconds."""

    def __init__(self, meeting: Meeting, rank: int) -> None:
        """Take part in `meeting`."""
        self.meeting = meeting
        self.rank = rank
        self.count = len(meeting.values)
        self.names = tuple(f"algo-{i + 1}" for i in range(self.count))

    def exchange(self, value: Any) -> list[Any]:
        """Return the JSON values of all hosts."""
        self.meeting.values[self.rank] = json.dumps(value)
        self.meeting.barrier.wait()
        return [json.loads(text) for text in self.meeting.values]


def _load(directory: Path, labels: list[str], *, keeps_spelling: bool) -> LabeledImages:
    directory.mkdir()
    rows = "".join(f"{label},1,2,3,255\n" for label in labels)
    (directory / "rows.csv").write_text(rows)
    return loading.load(directory, Options(keeps_spelling=keeps_spelling))


def _divide(shards: list[LabeledImages], test: LabeledImages | None = None) -> list[Sets]:
    meeting = Meeting(len(shards))

    def divide(rank: int) -> Sets:
        sets = Sets(shards[rank], None, None if rank else test)
        host: Any = HostOfMeeting(meeting, rank)
        return shares.divide(sets, 4, host, sharded=True)[0]

    with ThreadPoolExecutor(len(shards)) as pool:
        return list(pool.map(divide, range(len(shards))))


def test_replicated_hosts_whose_images_differ_say_what_is_not_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, labels in enumerate((["1", "2"], ["2", "1"], ["1", "2", "2"])):
        whole = [
            _load(tmp_path / f"{number}-{rank}", part, keeps_spelling=False)
            for rank, part in enumerate((["1", "2"], labels))
        ]
        meeting = Meeting(2)

        def divide(rank: int, parts: Any = whole, meeting: Any = meeting) -> bool:
            sets = Sets(parts[rank], parts[rank].take(np.arange(1)), None)
            host: Any = HostOfMeeting(meeting, rank)
            return shares.divide(sets, 4, host, sharded=False)[1].sharded

        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(divide, (0, 1))) == [number > 0] * 2
        said = sorted(capsys.readouterr().out.splitlines())
        counts = f"(algo-1: 2, algo-2: {len(labels)})"
        text = (
            f"warning: the hosts should have the same training images, and theirs differ {counts}"
        )
        held = "; 1 of this host are held out by validation_fraction and not used"
        assert said == ([text, text + held] if number else [])


def _write_labels(images: LabeledImages) -> list[str]:
    return [str(images.classes[index]) for index in images.labels]


@settings(max_examples=12)
@given(st.lists(st.lists(st.sampled_from(SPELLINGS), min_size=1), min_size=2, max_size=3))
@example([["007"], ["7"]])
@example([["007", "cat"], ["007"]])
@example([["7.0", "cat"], ["7.0", "8"]])
def test_labels_become_the_classes_that_one_host_would_find(labels: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        base = Path(directory)
        shards = [
            _load(base / str(rank), part, keeps_spelling=True) for rank, part in enumerate(labels)
        ]
        joined = _divide(shards)
        one_host = _load(base / "one", list(itertools.chain(*labels)), keeps_spelling=False)
    assert {sets.training.classes for sets in joined} == {one_host.classes}
    found = [_write_labels(sets.training) for sets in joined]
    assert list(itertools.chain(*found)) == _write_labels(one_host)


def test_labels_of_a_test_set_are_looked_up_as_they_are_written(tmp_path: Path) -> None:
    shards = [
        _load(tmp_path / str(rank), [label, "8"], keeps_spelling=True)
        for rank, label in enumerate(("007", "7"))
    ]
    test = _load(tmp_path / "test", ["007", "8"], keeps_spelling=True)
    joined = _divide(shards, test)[0].test
    assert joined is not None
    assert _write_labels(joined) == ["007", "8"]
    padded = _load(tmp_path / "padded", ["07", "8"], keeps_spelling=True)
    with pytest.raises(UserError, match="another channel has the classes '07', of which no host"):
        _divide(shards, padded)
    unknown = _load(tmp_path / "unknown", ["9", "8"], keeps_spelling=True)
    with pytest.raises(UserError, match="another channel has the classes '9', of which no host"):
        _divide(shards, unknown)


def test_labels_of_a_test_set_that_would_be_two_classes_are_not_one(tmp_path: Path) -> None:
    shards = [
        _load(tmp_path / str(rank), [label, "9"], keeps_spelling=True)
        for rank, label in enumerate(("8", "7"))
    ]
    test = _load(tmp_path / "test", ["8", "08"], keeps_spelling=True)
    with pytest.raises(UserError, match="of another channel or host: '08' and '8' would both be"):
        _divide(shards, test)


def test_a_class_that_a_host_writes_in_another_way_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _divide(
        [
            _load(tmp_path / str(rank), [label, "8"], keeps_spelling=True)
            for rank, label in enumerate(("7.0", "7"))
        ]
    )
    assert capsys.readouterr().out == "the label '7.0' is taken as class 7\n"
