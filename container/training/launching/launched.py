"""What a launcher's command is, and what every launcher needs to know of a host."""

import importlib.machinery
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from container import machine
from container.training.launching import across_hosts
from container.training.launching.choice import Launch, LauncherName

RENDEZVOUS_PORT: Final = 7777  # the toolkit's, and that of version 3 of the SDK (SDK-2)


@dataclass(frozen=True)
class Launched:
    """A launcher's command and what its environment needs in addition."""

    command: Sequence[str]
    variables: Mapping[str, str]
    rank_variable: str = ""
    """A variable that only the launched programs have; none without a launcher."""


def choose_port(variables: Mapping[str, str]) -> str:
    """Return the port of the first host on which the hosts meet."""
    return variables.get("MASTER_PORT") or str(RENDEZVOUS_PORT)


def run_across_hosts(
    launcher: LauncherName,
    launch: Launch,
    command: Sequence[str],
    variables: Mapping[str, str],
    scratch: Path,
) -> list[str]:
    """Compose the command by which this host leads the others, or follows the first one.

    `command` is what the first host runs.
    """
    script = [sys.executable, "-I", across_hosts.__file__]
    port = choose_port(variables)
    if launch.rank:
        return [*script, "follow", launch.hosts[0], port, launch.hosts[launch.rank], str(scratch)]
    return [*script, launcher, port, ",".join(launch.hosts), str(scratch), *command]


def count_accelerators(variables: Mapping[str, str]) -> int:
    """Count this host's GPUs, or else its Neuron cores, by the toolkit's variables."""
    counts = (int(variables.get(name) or 0) for name in ("SM_NUM_GPUS", "SM_NUM_NEURONS"))
    return next((count for count in counts if count), 0)


def share_threads(variables: Mapping[str, str], processes: int) -> dict[str, str]:
    """Divide the container's processors between the processes of this host."""
    if "OMP_NUM_THREADS" in variables and processes == 1:
        return {}
    return {"OMP_NUM_THREADS": str(max(1, machine.count_threads() // processes))}


def without_set(added: Mapping[str, str], variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of `added` that the job does not set itself."""
    return {name: value for name, value in added.items() if name not in variables}


def is_importable(package: str, variables: Mapping[str, str], python: str) -> bool:
    """Return whether the program's Python can import `package`."""
    paths = [path for path in variables.get("PYTHONPATH", "").split(os.pathsep) if path]
    paths += map(str, Path(python).parents[1].glob("lib/python*/site-packages"))
    return importlib.machinery.PathFinder.find_spec(package, [*paths, *sys.path]) is not None
