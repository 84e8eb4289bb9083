"""Composes the commands by which Open MPI starts a program on all hosts (DS-8).

`mpirun` runs on the first host. It starts its daemons on the others through `across_hosts`, which
needs neither sshd nor keys. Each rank has the environment of its own host.
"""

import argparse
import importlib.util
import os
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from container.errors import UserError
from container.training.launching.choice import Launch
from container.training.launching.launched import (
    Launched,
    count_accelerators,
    is_importable,
    run_across_hosts,
    share_threads,
    without_set,
)

_RANK_PROGRAM: Final = "BYO_RANK_PROGRAM"
_RANK_VARIABLE: Final = "OMPI_COMM_WORLD_RANK"
# The path of the job's Python differs between hosts if the job installed packages.
_RUN_PROGRAM: Final = ("/bin/sh", "-c", f'eval "exec ${_RANK_PROGRAM}"')


def compose(
    launch: Launch, program: Sequence[str], variables: Mapping[str, str], python: str, scratch: Path
) -> Launched:
    """Compose what this host runs so that Open MPI starts `program` once per accelerator.

    Raises: UserError if there is no `mpirun`.
    """
    mpirun = shutil.which("mpirun", path=variables.get("PATH"))
    if mpirun is None:
        raise UserError(
            "the job asks for mpirun, which is not installed: name openmpi in requirements.txt, "
            "or apt-get install openmpi-bin in your image"
        )
    if program[0] == python and is_importable("mpi4py", variables, python):
        # An exception of one rank then ends all; the others would wait for it forever.
        program = [python, "-m", "mpi4py", *(part for part in program[1:] if part != "--")]
    count = launch.processes_per_host or count_accelerators(variables) or 1
    options = _read_options(launch.options)
    needed: dict[str, str] = {}
    if len(launch.hosts) == 1:
        total = launch.processes or count
        slots = f"localhost:{max(count, total)}"
        command = [mpirun, "--host", slots, *_count(total), *options, *program]
        added = share_threads(variables, total)
    else:
        total = launch.processes or count * len(launch.hosts)
        slots = ",".join(f"{host}:{count}" for host in launch.hosts)
        command = [mpirun, "--host", slots, *_count(total), *options, *_RUN_PROGRAM]
        command = run_across_hosts("mpirun", launch, command, variables, scratch)
        added = {**share_threads(variables, count), **_describe_network(variables)}
        needed = {_RANK_PROGRAM: shlex.join(program), **_name_host(variables, scratch)}
    return Launched(command, {**without_set(added, variables), **needed}, _RANK_VARIABLE)


def _count(total: int) -> list[str]:
    return ["-np", str(total), "--allow-run-as-root", "--tag-output", "--bind-to", "none"]


def _read_options(text: str) -> list[str]:
    """Read the SDK's `custom_mpi_options`; `--NCCL_DEBUG` is the toolkit's own option."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--NCCL_DEBUG")
    try:
        words = shlex.split(text)
    except ValueError as error:
        message = f"sagemaker_mpi_custom_mpi_options={text!r} cannot be read: {error}"
        raise UserError(message) from error
    known, rest = parser.parse_known_args(words)
    if known.NCCL_DEBUG:
        rest += ["-x", f"NCCL_DEBUG={known.NCCL_DEBUG}"]
    return rest


def _describe_network(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the settings by which Open MPI, version 4 or 5, uses the job's network."""
    interface = variables.get("SM_NETWORK_INTERFACE_NAME", "eth0")
    names = ["OMPI_MCA_btl_tcp_if_include", "OMPI_MCA_oob_tcp_if_include"]
    names += ["PRTE_MCA_oob_tcp_if_include", "PRTE_MCA_prte_if_include"]
    trees = ["OMPI_MCA_plm_rsh_no_tree_spawn", "PRTE_MCA_plm_ssh_no_tree_spawn"]
    return {**dict.fromkeys(names, interface), **dict.fromkeys(trees, "1")}


def _name_host(variables: Mapping[str, str], scratch: Path) -> dict[str, str]:
    """Return the variable by which a host calls itself as its peers do.

    The toolkit's library `gethostname` reads that name; a host's own one is another (DS-3). Spaces
    and colons separate the paths of the variable, so a link stands for a path that holds one.
    """
    library = importlib.util.find_spec("gethostname")
    if library is None or not library.origin:
        return {}
    path = Path(library.origin)
    if re.search("[ :]", str(path)):
        path = scratch / "gethostname.so"
        path.unlink(missing_ok=True)
        path.symlink_to(library.origin)
    return {"LD_PRELOAD": os.pathsep.join(filter(None, (str(path), variables.get("LD_PRELOAD"))))}
