"""Several hosts train one model, each in its own network namespace (DS-1 to DS-7)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from container import artifact

MakeJob = Callable[..., Path]
RunTrain = Callable[[Path], "subprocess.CompletedProcess[str]"]
Digits = dict[str, tuple[NDArray[np.uint8], NDArray[np.int32]]]
# The order of ranks is that of the sorted names: algo-10 comes before algo-2, and no name need be
# algo-N.
NAMES = ("algo-2", "algo-10", "node-b", "node-a")
PLAIN = {"epochs": 5, "precision": "float32", "checkpoint_interval_s": 3600}
STEPS = 5 * (1437 // 128)


class Network:
    """Namespaces on one bridge; hosts know each other's names once `announce` was called."""

    def __init__(self, count: int) -> None:
        self.tag = f"t{os.getpid() % 10_000}"
        self.names = NAMES[:count]
        self.processes: list[subprocess.Popen[str]] = []
        self.spaces = {name: f"{self.tag}-{i}" for i, name in enumerate(self.names)}
        # The bridge has a namespace, too: in the machine's own a firewall, such as an engine's, may
        # stand in the way.
        self.run("netns", "add", self.tag)
        self.run("-n", self.tag, "link", "add", "bridge", "type", "bridge")
        self.run("-n", self.tag, "link", "set", "bridge", "up")
        for i, space in enumerate(self.spaces.values()):
            self.run("netns", "add", space)
            self.run(
                "-n",
                self.tag,
                "link",
                "add",
                f"port{i}",
                "type",
                "veth",
                "peer",
                "name",
                "eth0",
                "netns",
                space,
            )
            self.run("-n", self.tag, "link", "set", f"port{i}", "master", "bridge", "up")
            self.run("-n", space, "addr", "add", f"10.77.0.{i + 1}/24", "dev", "eth0")
            self.run("-n", space, "link", "set", "eth0", "up")
            self.run("-n", space, "link", "set", "lo", "up")
            hosts = self.hosts_file(space)
            hosts.parent.mkdir(parents=True, exist_ok=True)
            hosts.write_text("127.0.0.1 localhost\n")

    @staticmethod
    def run(*arguments: str) -> None:
        """Run `ip`."""
        subprocess.run(["ip", *arguments], check=True, capture_output=True)

    @staticmethod
    def hosts_file(space: str) -> Path:
        """Name the file that is /etc/hosts in a namespace."""
        return Path("/etc/netns") / space / "hosts"

    def announce(self) -> None:
        """Send the names of all hosts to each of them."""
        lines = "".join(f"10.77.0.{i + 1} {name}\n" for i, name in enumerate(self.names))
        for space in self.spaces.values():
            # Written in place, since the file is mounted in the namespace.
            with self.hosts_file(space).open("a") as file:
                file.write(lines)

    def start(self, bases: dict[str, Path]) -> dict[str, subprocess.Popen[str]]:
        """Start a job's containers, each in its host's namespace."""
        started = {
            name: subprocess.Popen(
                [
                    "ip",
                    "netns",
                    "exec",
                    self.spaces[name],
                    sys.executable,
                    "-m",
                    "container",
                    "train",
                ],
                env={
                    **os.environ,
                    "SAGEMAKER_BASE_DIR": str(base),
                    "CUDA_VISIBLE_DEVICES": str(self.names.index(name)),  # a GPU of its own
                },
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for name, base in bases.items()
        }
        self.processes.extend(started.values())
        return started

    def close(self) -> None:
        """End and remove everything."""
        for process in self.processes:
            process.kill()
            process.communicate()
        for space in self.spaces.values():
            self.run("netns", "del", space)
            self.hosts_file(space).unlink()
            self.hosts_file(space).parent.rmdir()
        self.run("netns", "del", self.tag)


@pytest.fixture
def make_network() -> Iterator[Callable[[int], Network]]:
    networks: list[Network] = []

    def make(count: int) -> Network:
        networks.append(Network(count))
        return networks[-1]

    yield make
    for network in networks:
        network.close()


def prepare(
    base: Path, name: str, names: Sequence[str], distribution: str = "FullyReplicated"
) -> Path:
    resources = {"current_host": name, "hosts": sorted(names), "network_interface_name": "eth0"}
    (base / "input/config/resourceconfig.json").write_text(json.dumps(resources))
    channels = json.loads((base / "input/config/inputdataconfig.json").read_text())
    for entry in channels.values():
        entry["S3DistributionType"] = distribution
    (base / "input/config/inputdataconfig.json").write_text(json.dumps(channels))
    return base


def wait(
    processes: dict[str, subprocess.Popen[str]], timeout_s: float = 300
) -> dict[str, tuple[int, str]]:
    ended = {}
    for name, process in processes.items():
        output, _ = process.communicate(timeout=timeout_s)
        ended[name] = (process.returncode, output)
    return ended


def load_weights(base: Path) -> NDArray[np.float32]:
    newest = max((base / "checkpoints").glob("checkpoint-*.npz"))
    with np.load(newest) as file:
        weights: NDArray[np.float32] = file["weights"]
    return weights


@pytest.mark.parametrize("xla", ["auto", pytest.param("on", marks=pytest.mark.slow)])
def test_two_hosts_reach_the_weights_of_one_and_only_the_first_writes(
    xla: str,
    digits_channels: Path,
    make_job: MakeJob,
    run_train: RunTrain,
    make_network: Callable[[int], Network],
) -> None:
    channels = {name: digits_channels / name for name in ("train", "test")}
    alone = make_job(channels, **PLAIN, towers=2, xla=xla)
    (alone / "checkpoints").mkdir()
    assert run_train(alone).returncode == 0
    network = make_network(2)
    bases = {
        name: prepare(
            make_job(channels, **PLAIN, towers=1, threads=1, xla=xla), name, network.names
        )
        for name in network.names
    }
    for base in bases.values():
        (base / "checkpoints").mkdir()
    processes = network.start(bases)
    time.sleep(1)  # the platform names peers late (DS-4); how late is not what is tried here
    network.announce()
    for name, (code, output) in wait(processes).items():
        assert code == 0, f"{name}: {output}"
        assert "connected 2 hosts" in output
        assert f"all 2 hosts hold the same weights after {STEPS} steps" in output
    # Of several hosts XLA compiles other parts of a step, which round in another way. On one device
    # such rounding changes weights by 2e-3 in these steps; towers of another size, by 9e-2.
    bound = 5e-3 if xla == "on" else 1e-6
    assert np.abs(load_weights(bases["algo-10"]) - load_weights(alone)).max() <= bound
    assert artifact.load(bases["algo-10"] / "model").manifest.metrics["test_accuracy"] >= 0.9
    assert not list((bases["algo-2"] / "model").iterdir())
    assert not list((bases["algo-2"] / "checkpoints").iterdir())


@pytest.mark.slow
def test_four_hosts_with_shards_of_other_classes_and_an_empty_one_train_one_model(
    digits: Digits,
    digits_channels: Path,
    make_job: MakeJob,
    make_network: Callable[[int], Network],
    tmp_path: Path,
) -> None:
    network = make_network(4)
    network.announce()
    images, labels = digits["train"]
    bases = {}
    for i, name in enumerate(sorted(network.names)):
        shard = tmp_path / name
        shard.mkdir()
        mine = labels % 3 == i  # nothing for the fourth
        rows = np.column_stack([labels[mine], images[mine].reshape(-1, 64)])
        if len(rows):
            np.savetxt(shard / "rows.csv", rows, "%d", ",")
        channels = {"train": shard} | ({"test": digits_channels / "test"} if i == 0 else {})
        bases[name] = prepare(make_job(channels, epochs=20), name, network.names, "ShardedByS3Key")
    for name, (code, output) in wait(network.start(bases)).items():
        assert code == 0, f"{name}: {output}"
    manifest = artifact.load(bases["algo-10"] / "model").manifest
    assert manifest.classes == tuple(range(10))
    assert manifest.metrics["test_accuracy"] >= 0.95


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_a_host_that_is_killed_ends_the_job_on_all_hosts_with_a_reason(
    count: int, digits_channels: Path, make_job: MakeJob, make_network: Callable[[int], Network]
) -> None:
    network = make_network(count)
    network.announce()
    bases = {
        name: prepare(
            make_job({"train": digits_channels / "train"}, epochs=100_000), name, network.names
        )
        for name in network.names
    }
    processes = network.start(bases)
    chief = processes["algo-10"]
    assert chief.stdout is not None
    while not chief.stdout.readline().startswith("epoch="):
        assert chief.poll() is None
    processes["algo-2"].kill()
    for name in set(network.names) - {"algo-2"}:
        output, _ = processes[name].communicate(timeout=60)
        assert processes[name].returncode == 1, output
        reason = (bases[name] / "output/failure").read_text()[:1024]
        assert f"PlatformError: algo-2 of this job ({count} hosts) has ended" in reason
    processes["algo-2"].communicate(timeout=60)


def test_bad_data_on_one_host_fails_all_with_the_same_reason(
    make_job: MakeJob, make_network: Callable[[int], Network], tmp_path: Path
) -> None:
    network = make_network(2)
    network.announce()
    bad, pictures = tmp_path / "bad", tmp_path / "pictures"
    bad.mkdir()
    (bad / "rows.csv").write_text("3,1,2,3,4\n3,1,2,999,4\n")
    for name in ("cat", "dog"):  # which TensorFlow decodes, after it is connected
        (pictures / name).mkdir(parents=True)
        Image.new("L", (2, 2)).save(pictures / name / "0.png")
    bases = {
        name: prepare(make_job({"train": directory}), name, network.names)
        for name, directory in (("algo-2", bad), ("algo-10", pictures))
    }
    for name, (code, output) in wait(network.start(bases)).items():
        assert code == 1, f"{name}: {output}"
        reason = (bases[name] / "output/failure").read_text()[:1024]
        assert "algo-2: UserError" in reason
        assert "row 2, column 4" in reason


def test_a_host_that_never_comes_is_named(
    digits_channels: Path, make_job: MakeJob, make_network: Callable[[int], Network]
) -> None:
    network = make_network(1)
    network.announce()
    base = make_job({"train": digits_channels / "train"}, host_wait_s=1)
    prepare(base, "algo-2", ["algo-2", "algo-7"])
    code, _ = wait(network.start({"algo-2": base}))["algo-2"]
    assert code == 1
    assert (
        "algo-7 of the job's 2 hosts cannot be reached"
        in (base / "output/failure").read_text()[:1024]
    )
