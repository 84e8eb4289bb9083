"""Composes the commands of the launchers: the same on every host, but for the host's rank."""

from __future__ import annotations

import importlib.machinery
import os
import shlex
import shutil
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from container import machine
from container.errors import UserError
from container.training.launching.choice import Launch

TORCHRUN_PORT: Final = 7777  # the toolkit's, and that of version 3 of the SDK (SDK-2)
_PREFIX: Final = "[rank${rank}]: "


@dataclass(frozen=True)
class Launched:
    """A launcher's command and what its environment needs in addition."""

    command: Sequence[str]
    variables: Mapping[str, str]


def compose(
    launch: Launch | None,
    program: Sequence[str],
    variables: Mapping[str, str],
    python: str,
    logs: Path,
) -> Launched:
    """Compose the launcher's command, run by `python`; without a launcher, the program's own.

    Raises: UserError if what the launcher needs is not installed.
    """
    if launch is None:
        return Launched(program, {})
    if launch.launcher == "mpirun":
        return compose_mpirun(launch, program, variables, python)
    if launch.launcher == "ray":
        message = (
            "the job asks for Ray, which is not launched here; start it in a shell script: "
            "`ray start --head` on the first host of SM_HOSTS, `ray start --address` on the others"
        )
        raise UserError(message)
    return compose_torchrun(launch, program, variables, python, logs)


def compose_torchrun(
    launch: Launch, program: Sequence[str], variables: Mapping[str, str], python: str, logs: Path
) -> Launched:
    """Compose the command by which `torchrun` starts `program` once per accelerator (DS-10).

    `logs` is an empty directory, into which `torchrun` copies the output of each rank.

    Raises: UserError if torch is not installed.
    """
    if not is_importable("torch", variables, python):
        message = (
            "the job asks for torchrun, and torch is not installed: name it in requirements.txt, "
            "or install it in an image of yours"
        )
        raise UserError(message)
    count = launch.processes_per_host or count_accelerators(variables) or 1
    command = [python, "-m", "torch.distributed.run", f"--nnodes={len(launch.hosts)}"]
    command += [f"--nproc-per-node={count}", "--tee=3", f"--log-dir={logs}"]
    command += [f"--node-rank={launch.rank}", *_name_coordinator(launch, variables)]
    command += ["--no-python", *program]
    added = {"TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE": _PREFIX, **share_threads(variables, count)}
    return Launched(command, {name: added[name] for name in added if name not in variables})


def compose_mpirun(
    launch: Launch, program: Sequence[str], variables: Mapping[str, str], python: str
) -> Launched:
    """Compose the command by which Open MPI starts `program` once per accelerator of this host.

    Raises: UserError if there is no `mpirun`.
    """
    found = shutil.which("mpirun", path=variables.get("PATH"))
    if found is None:
        message = (
            "the job asks for mpirun, which is not installed: in an image of yours, "
            "apt-get install openmpi-bin"
        )
        raise UserError(message)
    count = launch.processes_per_host or count_accelerators(variables) or 1
    total = launch.processes or count
    command = [found, "--allow-run-as-root", "--host", f"localhost:{max(count, total)}"]
    command += ["-np", str(total), "--tag-output", "--bind-to", "none"]
    command += shlex.split(launch.options)
    if program[0] == python and is_importable("mpi4py", variables, python):
        # An exception of one rank then ends all; the others would wait for it forever.
        program = [python, "-m", "mpi4py", *(part for part in program[1:] if part != "--")]
    added = share_threads(variables, total)
    return Launched(
        [*command, *program], {name: added[name] for name in added if name not in variables}
    )


def _name_coordinator(launch: Launch, variables: Mapping[str, str]) -> list[str]:
    """Name the first host's port; on a single host, any free one, which needs no name to resolve.

    (`--standalone` needs a machine whose own name resolves.)
    """
    address = launch.hosts[0]
    port = variables.get("MASTER_PORT") or str(TORCHRUN_PORT)
    if len(launch.hosts) == 1:
        address = "127.0.0.1"
        with socket.create_server((address, 0)) as probe:
            port = str(probe.getsockname()[1])
    return [f"--master-addr={address}", f"--master-port={port}"]


def count_accelerators(variables: Mapping[str, str]) -> int:
    """Count this host's GPUs, or else its Neuron cores, by the toolkit's variables."""
    counts = (int(variables.get(name) or 0) for name in ("SM_NUM_GPUS", "SM_NUM_NEURONS"))
    return next((count for count in counts if count), 0)


def share_threads(variables: Mapping[str, str], processes: int) -> dict[str, str]:
    """Divide the container's processors between the processes of this host."""
    if "OMP_NUM_THREADS" in variables and processes == 1:
        return {}
    return {"OMP_NUM_THREADS": str(max(1, machine.count_threads() // processes))}


def is_importable(package: str, variables: Mapping[str, str], python: str) -> bool:
    """Return whether the program's Python can import `package`."""
    paths = [path for path in variables.get("PYTHONPATH", "").split(os.pathsep) if path]
    paths += map(str, Path(python).parents[1].glob("lib/python*/site-packages"))
    return importlib.machinery.PathFinder.find_spec(package, [*paths, *sys.path]) is not None
