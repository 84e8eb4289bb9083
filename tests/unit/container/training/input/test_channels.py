"""The channels of the bundled trainer: each one is read, refused, or named as not read."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from container import contract
from container.data.gathering import run_ahead
from container.data.images import LabeledImages
from container.errors import UserError
from container.training.input import channels
from container.training.settings import Settings

EXAMPLES = int(os.environ.get("READER_EXAMPLES", "12"))
NAMES = (
    *("training", "train", "validation", "test", "testing", "pretrained", "model", "code"),
    *("val", "Train", "eval", "training2", "labels"),
)


def lay_out(directory: str, names: set[str]) -> contract.Layout:
    layout = contract.Layout(Path(directory))
    layout.input_data_config.parent.mkdir(parents=True)
    document = {name: {"TrainingInputMode": "File"} for name in names}
    layout.input_data_config.write_text(json.dumps(document))
    return layout


@settings(max_examples=EXAMPLES)
@given(st.sets(st.sampled_from(NAMES)))
def test_every_channel_is_used_or_named_as_unused(names: set[str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        layout = lay_out(directory, names)
        config = contract.load_training_config(layout)
        if not names & {"training", "train"}:
            with pytest.raises(UserError, match="the job has no training channel") as caught:
                channels.find(layout, config)
            assert all(name in str(caught.value) for name in names)
            return
        found = channels.find(layout, config)
    roles = (found.training, found.validation, found.test, found.pretrained)
    used = [channel.name for channel in roles if channel]
    assert sorted([*used, *found.unused]) == sorted(names - {"code"})
    assert len(used) == len(set(used))


def test_unused_channels_are_reported() -> None:
    with tempfile.TemporaryDirectory() as directory:
        layout = lay_out(directory, {"training", "labels"})
        (layout.channel("training")).mkdir(parents=True)
        (layout.channel("training") / "a.csv").write_text("1,2\n2,3\n")
        found = channels.find(layout, contract.load_training_config(layout))
        lines: list[str] = []
        channels.load(layout, found, Settings(), run_ahead, lines.append)
    assert any("warning: the channel 'labels' is not read" in line for line in lines)


def test_the_images_that_are_measured_keep_their_places() -> None:
    with tempfile.TemporaryDirectory() as directory:
        layout = lay_out(directory, {"training", "test"})
        for name in ("training", "test"):
            layout.channel(name).mkdir(parents=True)
            for file in ("a.csv", "b.csv"):
                (layout.channel(name) / file).write_text("1,255\n2,3\n")
        found = channels.find(layout, contract.load_training_config(layout))
        half = Settings(validation_fraction=0.5)
        loaded = channels.load(layout, found, half, run_ahead, lambda _: None)
        assert loaded.validation is not None
        assert loaded.test is not None
        places = [
            f"{layout.channel('test')}/{file}.csv, row {row}" for file in "ab" for row in (1, 2)
        ]
    assert list(map(loaded.test.locate, range(4))) == places
    assert isinstance(loaded.validation, LabeledImages)
    held_out = {loaded.validation.locate(row) for row in range(2)}
    assert held_out < {place.replace("/test/", "/training/") for place in places}


@pytest.mark.parametrize("name", ["validation", "test", "testing"])
@pytest.mark.parametrize(
    ("distribution", "host_count", "is_partial"),
    [("ShardedByS3Key", 2, True), ("ShardedByS3Key", 1, False), ("FullyReplicated", 2, False)],
)
def test_a_set_of_which_only_one_host_measures_its_part_is_named(
    name: str, distribution: str, host_count: int, *, is_partial: bool
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        layout = lay_out(directory, {"training", name})
        document = json.loads(layout.input_data_config.read_text())
        document[name]["S3DistributionType"] = distribution
        layout.input_data_config.write_text(json.dumps(document))
        hosts = [f"algo-{i + 1}" for i in range(host_count)]
        resources = {"current_host": "algo-1", "hosts": hosts}
        layout.resource_config.write_text(json.dumps(resources))
        found = channels.find(layout, contract.load_training_config(layout))
    text = "".join(channels.find_doubts(found))
    assert (f"'{name}' is ShardedByS3Key, and only the first host measures" in text) == is_partial


@pytest.mark.parametrize(
    ("rank", "distribution", "kept"),
    [(0, "ShardedByS3Key", 3), (1, "ShardedByS3Key", 4), (1, "FullyReplicated", 3)],
)
def test_no_host_holds_out_images_that_nobody_measures(
    rank: int, distribution: str, kept: int
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        layout = lay_out(directory, {"training"})
        document = {"training": {"S3DistributionType": distribution}}
        layout.input_data_config.write_text(json.dumps(document))
        hosts = ["algo-1", "algo-2"]
        layout.resource_config.write_text(json.dumps({"current_host": hosts[rank], "hosts": hosts}))
        layout.channel("training").mkdir(parents=True)
        (layout.channel("training") / "a.csv").write_text("1,255\n2,3\n" * 2)
        found = channels.find(layout, contract.load_training_config(layout))
        lines: list[str] = []
        quarter = Settings(validation_fraction=0.25)
        loaded = channels.load(layout, found, quarter, run_ahead, lines.append)
    assert len(loaded.training.labels) == kept
    is_partial = rank == 0 and distribution == "ShardedByS3Key"
    assert any("holds out images of this host only" in line for line in lines) == is_partial
