"""Builds the program's environment: what the toolkit offers, completed for the container.

The toolkit is asked in a process of its own (`training_toolkit`). docs/bring-your-own.md lists each
difference from the toolkit with its reason.
"""

import json
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final, cast

from container import contract, machine
from container.errors import PlatformError, UserError
from container.training.user_script import training_toolkit
from container.training.user_script.diagnosis import find_cause
from container.training.user_script.find import Program
from container.training.user_script.training_toolkit import Answer
from container.user_packages.supervision import Supervisor

_PACKAGE_ROOT: Final = str(Path(__file__).parents[3])
_TF_CONFIG_PORT: Final = 8890  # DS-6
_STRING_BYTES: Final = 128 * 1024 - 1  # MAX_ARG_STRLEN of Linux, less the closing NUL


def ask_toolkit(
    program: Program, layout: contract.Layout, environ: Mapping[str, str], supervisor: Supervisor
) -> Answer | None:
    """Let the toolkit unpack the code and name arguments and variables.

    Returns None if the job was stopped meanwhile.

    Raises: UserError or PlatformError if the toolkit cannot.
    """
    variables = {
        **environ,
        contract.BASE_DIR_VARIABLE: str(layout.base),
        "PYTHONPATH": _join_paths(_PACKAGE_ROOT, environ.get("PYTHONPATH")),
    }
    with tempfile.TemporaryDirectory() as scratch:
        result = Path(scratch) / "answer.json"
        module = [sys.executable, "-m", training_toolkit.__name__]
        command = [*module, str(result), program.name, program.source]
        outcome = supervisor.run(command, layout.base, variables)
        if supervisor.stop_signal is not None:
            return None
        answer = contract.load_json_object(result)
    if "arguments" in answer:
        return cast("Answer", answer)
    if answer.get("kind") == "UserError":
        raise UserError(answer["error"])
    raise PlatformError(answer.get("error") or f"sagemaker-training failed: {find_cause(outcome)}")


def complete_variables(
    offered: Mapping[str, str], layout: contract.Layout, environ: Mapping[str, str]
) -> dict[str, str]:
    """Return the program's environment; what the user set wins over what the toolkit offers.

    A variable that is too long for Linux is logged and left out.
    """
    cpus = max(1, int(machine.count_cpus()))
    variables = {
        **_choose_defaults(layout, cpus),
        **_rename_for_shells(offered),
        **environ,
        **offered,
        # The toolkit's own package comes last: `container` must be importable from any directory.
        "PYTHONPATH": _join_paths(str(layout.code), environ.get("PYTHONPATH"), _PACKAGE_ROOT),
        "SM_NUM_CPUS": str(cpus),
    }
    for name, value in list(variables.items()):
        if len(f"{name}={value}".encode()) > _STRING_BYTES:
            print(
                f"{name} is left out of the environment: Linux allows no variable over 128 KiB; "
                "read the file instead",
                flush=True,
            )
            del variables[name]
    return variables


def _choose_defaults(layout: contract.Layout, cpus: int) -> dict[str, str]:
    defaults = {"PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}  # IMG-14, TRIP-16
    if cpus < (os.cpu_count() or cpus):
        # Libraries count the machine's processors, not the container's (HO-13).
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            defaults[name] = str(cpus)
    resources = contract.load_training_config(layout).resources
    if len(resources.hosts) > 1:
        workers = [f"{host}:{_TF_CONFIG_PORT}" for host in resources.hosts]
        task = {"type": "worker", "index": resources.rank}
        defaults["TF_CONFIG"] = json.dumps({"cluster": {"worker": workers}, "task": task})
        defaults["NCCL_SOCKET_IFNAME"] = resources.network_interface_name  # DS-2
        defaults["GLOO_SOCKET_IFNAME"] = resources.network_interface_name
    return defaults


def _rename_for_shells(offered: Mapping[str, str]) -> dict[str, str]:
    """Return the variables under names that a shell can read: no hyphen, no dot (IN-1)."""
    return {re.sub(r"[^A-Za-z0-9_]", "_", name): value for name, value in offered.items()}


def _join_paths(*paths: str | None) -> str:
    return os.pathsep.join(path for path in paths if path)
