"""Composes the commands of the launchers: the same on every host, but for the host's rank."""

import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from container.errors import UserError
from container.training.launching import across_hosts, launched, mpi
from container.training.launching.choice import Launch
from container.training.launching.launched import Launched

_PREFIX: Final = "[rank${rank}]: "


def compose(
    launch: Launch | None,
    program: Sequence[str],
    variables: Mapping[str, str],
    python: str,
    scratch: Path,
) -> Launched:
    """Compose the launcher's command, run by `python`; without a launcher, the program's own.

    `scratch` is a directory of the job.

    Raises: UserError if what the launcher needs is not installed.
    """
    if launch is None:
        return Launched(program, {})
    if launch.launcher == "mpirun":
        return mpi.compose(launch, program, variables, python, scratch)
    if launch.launcher == "ray":  # on all hosts, and the program on the first one (DS-11)
        _require("ray", "Ray", variables, python)
        first = [python, *program]
        command = launched.run_across_hosts("ray", launch, first, variables, scratch)
        return Launched(command, {}, across_hosts.RAY_MARK)
    return _compose_torchrun(launch, program, variables, python, scratch)


def _compose_torchrun(
    launch: Launch, program: Sequence[str], variables: Mapping[str, str], python: str, scratch: Path
) -> Launched:
    """Compose the command by which `torchrun` starts `program` once per accelerator (DS-10).

    `torchrun` copies the output of each rank into a directory in `scratch`.

    Raises: UserError if torch is not installed.
    """
    _require("torch", "torchrun", variables, python)
    count = launch.processes_per_host or launched.count_accelerators(variables) or 1
    logs = scratch / "ranks"
    logs.mkdir()
    command = [python, "-m", "torch.distributed.run", f"--nnodes={len(launch.hosts)}"]
    command += [f"--nproc-per-node={count}", "--tee=3", f"--log-dir={logs}"]
    command += [f"--node-rank={launch.rank}", *_name_coordinator(launch, variables)]
    command += ["--no-python", *program]
    added = {
        "TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE": _PREFIX,
        **launched.share_threads(variables, count),
    }
    return Launched(command, launched.without_set(added, variables), "TORCHELASTIC_RUN_ID")


def _require(package: str, launcher: str, variables: Mapping[str, str], python: str) -> None:
    if not launched.is_importable(package, variables, python):
        raise UserError(
            f"the job asks for {launcher}, and {package} is not installed: name it in "
            "requirements.txt, or install it in your image"
        )


def _name_coordinator(launch: Launch, variables: Mapping[str, str]) -> list[str]:
    """Name the first host's port; on a single host, any free one, which needs no name to resolve.

    (`--standalone` needs a machine whose own name resolves.)
    """
    address = launch.hosts[0]
    port = launched.choose_port(variables)
    if len(launch.hosts) == 1:
        address = "127.0.0.1"
        with socket.create_server((address, 0)) as probe:
            port = str(probe.getsockname()[1])
    return [f"--master-addr={address}", f"--master-port={port}"]
