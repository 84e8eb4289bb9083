"""What the platform may put around a training job: changes of its directory before the start."""

import json
import shutil
from collections.abc import Callable
from typing import Any, Final

from container import contract

DOCUMENTED: Final = {"hyperparameters.json", "inputdataconfig.json", "resourceconfig.json"}

Amend = Callable[[contract.Layout], None]


def leave_documented_files(layout: contract.Layout) -> None:
    """Remove everything that the guide does not promise."""
    remove_decoys(layout)
    remove_manifests(layout)


def remove_decoys(layout: contract.Layout) -> None:
    """Remove the undocumented configuration files."""
    for path in layout.hyperparameters.parent.iterdir():
        if path.name not in DOCUMENTED:
            path.unlink()


def remove_manifests(layout: contract.Layout) -> None:
    """Remove the files beside the channel directories."""
    for path in layout.input_data.glob("*-manifest"):
        path.unlink()


def add_channel(layout: contract.Layout) -> None:
    """Add a channel with a name that no program expects."""
    name = "my-notes.v2"
    config = json.loads(layout.input_data_config.read_text(encoding="utf-8"))
    config[name] = {
        "TrainingInputMode": "File",
        "S3DistributionType": "FullyReplicated",
        "RecordWrapperType": "None",
    }
    layout.input_data_config.write_text(json.dumps(config), encoding="utf-8")
    layout.channel(name).mkdir(exist_ok=True)
    (layout.channel(name) / "README.txt").write_text("notes, no data\n", encoding="utf-8")


def add_hidden_files(layout: contract.Layout) -> None:
    """Add a hidden and an empty file to each channel."""
    for name in json.loads(layout.input_data_config.read_text(encoding="utf-8")):
        if layout.channel(name).is_dir():
            (layout.channel(name) / ".hidden").write_bytes(b"\x00\xff not data")
            (layout.channel(name) / "_SUCCESS").write_bytes(b"")


def rename_interface(layout: contract.Layout) -> None:
    """Name another network interface than eth0."""
    _edit_resources(layout, network_interface_name="ethwe")


def rename_host(layout: contract.Layout) -> None:
    """Name the only host node-b instead of algo-1."""
    document = json.loads(layout.resource_config.read_text(encoding="utf-8"))
    groups = document["instance_groups"]
    groups[0]["hosts"] = ["node-b"]
    _edit_resources(layout, current_host="node-b", hosts=["node-b"], instance_groups=groups)


def empty_channels(layout: contract.Layout) -> None:
    """Remove every channel's content."""
    for path in layout.input_data.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
            path.mkdir()


def empty_second_host(layout: contract.Layout) -> None:
    """Remove the channels' content on the second of two hosts."""
    if layout.base.name == "algo-2":
        empty_channels(layout)


def block_model(layout: contract.Layout) -> None:
    """Put a file in the place of the model directory."""
    layout.model.rmdir()
    layout.model.write_text("a file instead of the directory", encoding="utf-8")


def _edit_resources(layout: contract.Layout, **changes: Any) -> None:
    document = json.loads(layout.resource_config.read_text(encoding="utf-8"))
    layout.resource_config.write_text(json.dumps({**document, **changes}), encoding="utf-8")
