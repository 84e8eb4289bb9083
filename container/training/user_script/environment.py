"""Builds the program's environment: what `sagemaker-training` offers, completed for the container.

docs/bring-your-own.md lists each difference from it with its reason.
"""

import contextlib
import json
import os
import re
import socket
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NotRequired, TypedDict, cast

from container import contract, machine
from container.errors import PlatformError, UserError
from container.training.user_script import fetching, own_toolkit
from container.training.user_script.diagnosis import find_cause
from container.training.user_script.fetching import Fetched
from container.training.user_script.find import Program, find_default
from container.user_packages.supervision import Supervisor

_PACKAGE_ROOT: Final = str(Path(__file__).parents[3])
_DNS_WAIT_S: Final = 900.0  # DS-4: as long as the toolkit waits
_TOOLKIT_VARIABLES: Final = ("SAGEMAKER_JOB_NAME", "CURRENT_HOST", "SAGEMAKER_REGION")
_TF_CONFIG_PORT: Final = 8890  # DS-6
_STRING_BYTES: Final = 128 * 1024 - 1  # MAX_ARG_STRLEN of Linux, less the closing NUL


class Answer(TypedDict):
    """What the toolkit would start a program with."""

    program: str
    arguments: list[str]
    variables: dict[str, str]
    package_index: NotRequired[str]
    """URL of a CodeArtifact repository, with its login."""


def prepare(
    program: Program, layout: contract.Layout, environ: Mapping[str, str], supervisor: Supervisor
) -> Answer | None:
    """Unpack the code, wait for the other hosts, and name arguments and variables.

    Returns None if the job was stopped meanwhile.

    Raises: UserError or PlatformError if that is not possible.
    """
    given = {**environ, contract.BASE_DIR_VARIABLE: str(layout.base)}
    fetched: Fetched = {}
    if program.source or environ.get(fetching.REPOSITORY_VARIABLE):
        fetched = _fetch(program.source, layout, given, supervisor)
    resources = contract.load_json_object(layout.resource_config) or {
        "current_host": "algo-1",
        "hosts": ["algo-1"],
    }
    _wait_for_peers(resources, supervisor)
    if supervisor.stop_signal is not None:
        return None
    name = program.name or find_default(layout.code)
    given[contract.PROGRAM_VARIABLE] = name
    hyperparameters = _decode(contract.load_json_object(layout.hyperparameters))
    if program.source:
        hyperparameters[contract.SUBMIT_DIRECTORY_HYPERPARAMETER] = program.source
    channels = contract.load_json_object(layout.input_data_config)
    toolkit = own_toolkit.Environment(resources, channels, hyperparameters, given)
    variables = {name: given[name] for name in _TOOLKIT_VARIABLES} | toolkit.to_env_vars()
    return {"program": name, "arguments": toolkit.to_cmd_args(), "variables": variables, **fetched}


def _fetch(
    source: str, layout: contract.Layout, environ: Mapping[str, str], supervisor: Supervisor
) -> Fetched:
    variables = {**environ, "PYTHONPATH": _join_paths(_PACKAGE_ROOT, environ.get("PYTHONPATH"))}
    with tempfile.TemporaryDirectory() as scratch:
        result = Path(scratch) / "answer.json"
        command = [sys.executable, "-m", fetching.__name__, str(result), source]
        outcome = supervisor.run(command, layout.base, variables)
        if supervisor.stop_signal is not None:
            return {}
        answer = contract.load_json_object(result)
    if outcome.exit_code or "error" in answer:
        if answer.get("kind") == "UserError":
            raise UserError(answer["error"])
        cause = answer.get("error") or f"the code cannot be fetched: {find_cause(outcome)}"
        raise PlatformError(cause)
    return cast("Fetched", answer)


def _decode(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Decode hyperparameters as the toolkit does: as JSON if possible, else as plain text."""
    values = dict(raw)
    for name, text in raw.items():
        with contextlib.suppress(ValueError, TypeError, RecursionError):
            values[name] = json.loads(text)
    return values


def _wait_for_peers(resources: Mapping[str, Any], supervisor: Supervisor) -> None:
    """Wait until the name of every other host resolves (DS-4), or the job is stopped."""
    deadline = time.monotonic() + _DNS_WAIT_S
    for host in sorted(set(resources["hosts"]) - {resources["current_host"]}):
        wait_s = 0.1
        while supervisor.stop_signal is None and (error := _look_up(host)) is not None:
            if time.monotonic() + wait_s > deadline:
                message = f"the host name {host!r} still fails to resolve after {_DNS_WAIT_S:g} s"
                raise PlatformError(message) from error
            supervisor.wait_for_stop(wait_s)
            wait_s = min(2 * wait_s, 30.0)


def _look_up(host: str) -> OSError | None:
    try:
        socket.getaddrinfo(host, None)
    except OSError as error:
        return error
    return None


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
