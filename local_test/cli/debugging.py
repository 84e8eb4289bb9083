"""`--debug`: runs a container's program under debugpy.

debugpy follows the processes that the program starts: the user's script of a training job, and the
worker of a server. Nothing of the harness ends a server that stands at a breakpoint.
"""

import importlib.util
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from container.errors import UserError, describe_port, name_command
from local_test.cli import extras, terminal
from local_test.cli.options import ContainerOptions, check_port, flag, option
from local_test.endpoints.server import Limits
from local_test.requests.endpoint_requests import EndpointRequests
from local_test.requests.model_containers import list_containers
from local_test.runners.interface import Runner

_HOST: Final = "127.0.0.1"
_DAY_S: Final = 24 * 3600.0
_LIMITS: Final = Limits(startup_s=_DAY_S, ping_s=_DAY_S, invocation_s=_DAY_S, stream_s=_DAY_S)
# A breakpoint stops every thread of a worker, also the one by which it shows life.
_SERVER_VARIABLES: Final = {
    "SAGEMAKER_GUNICORN_WORKER_CLASS": "gthread",
    "SAGEMAKER_MODEL_SERVER_TIMEOUT": "3600",
    "SAGEMAKER_MODEL_SERVER_WORKERS": "1",
}
_PYTHON: Final = re.compile(r"python[\d.]*")
_JOINED: Final = re.compile(r"(-[bBdEhiIOPqRsSuvVx?]+)([mc])")
"""Flags of the interpreter with `-m` or `-c` after them, such as `-um`."""


@dataclass(frozen=True)
class DebugOptions:
    """Whether and how a debugger is attached."""

    debug: int | None = option(
        None, "Run the program under debugpy, which waits for a debugger on this local port."
    )
    no_wait: bool = flag("With --debug, do not wait for the debugger.", "--no-wait")

    def make_runner(self, container: ContainerOptions) -> Runner:
        """Return the container's runner; under debugpy if that was asked for.

        Raises: UserError if there is nothing to debug, or the port cannot be used.
        """
        if self.debug is None:
            if self.no_wait:
                raise UserError("--no-wait is for --debug PORT")
            return container.make_runner()
        if container.image is not None:
            raise UserError(
                "--debug runs a program as a process; leave out --image, or use the dev container "
                f"that `{name_command('init')}` writes"
            )
        _check_free(self.debug)
        runner = container.make_runner(self._wrap)
        waits = "" if self.no_wait else "; the program waits for it"
        terminal.say(f"attach a debugger to {_HOST}:{self.debug}{waits}")
        return runner

    def _wrap(self, command: Sequence[str]) -> list[str]:
        assert self.debug is not None  # noqa: S101 - the caller checks
        return wrap(command, self.debug, waits=not self.no_wait)

    def check_hosts(self, count: int, *, is_isolated: bool = False) -> None:
        """Check that the debugger reaches all that runs. Raises: UserError."""
        if self.debug is None:
            return
        if count > 1:
            message = f"--debug has one port, and this request has {count} hosts; ask for one"
            raise UserError(message)
        if is_isolated:
            message = "--debug cannot reach a container without a network; leave out --isolated"
            raise UserError(message)

    def limit(self, requests: EndpointRequests) -> Limits | None:
        """Return limits that let a server stand at a breakpoint, and give it the same settings."""
        if self.debug is None:
            return None
        set_defaults(requests, _SERVER_VARIABLES)
        return _LIMITS


def set_defaults(requests: EndpointRequests, variables: dict[str, str]) -> None:
    """Add variables to the models of an endpoint, where the requests do not set them."""
    for model in requests.models.values():
        if "Containers" not in model:
            model.setdefault("PrimaryContainer", {})
        for container in list_containers(model):
            container.definition["Environment"] = {**variables, **container.environment}


def wrap(command: Sequence[str], port: int, *, waits: bool) -> list[str]:
    """Return the command that runs a Python program under debugpy.

    Raises: UserError if it is not a Python program, or debugpy is not installed.
    """
    python, *rest = command
    arguments = [part for argument in rest for part in _split(argument)]
    count = _count_flags(arguments)
    if not _PYTHON.fullmatch(Path(python).name) or arguments[count:] in ([], ["-"]):
        raise UserError(
            f"--debug needs a Python program, such as 'python train.py'; found {' '.join(command)}"
        )
    found = importlib.util.find_spec("debugpy")
    if found is None or found.origin is None:
        raise UserError(extras.explain("debugpy") or "debugpy")
    # By its path: the program's Python need not have it.
    flags = ["-Xfrozen_modules=off", *arguments[:count], str(Path(found.origin).parent)]
    debugger = ["--listen", f"{_HOST}:{port}", *(["--wait-for-client"] * waits)]
    return [python, *flags, *debugger, *arguments[count:]]


def _split(argument: str) -> tuple[str, ...]:
    joined = _JOINED.fullmatch(argument)
    if joined is None:
        return (argument,)
    return joined[1], f"-{joined[2]}"


def _count_flags(arguments: Sequence[str]) -> int:
    """Count the interpreter's own arguments, which come before `-m`, `-c` or the script."""
    count = 0
    while count < len(arguments):
        argument = arguments[count]
        if argument in ("-m", "-c") or not argument.startswith("-") or argument == "-":
            return count
        count += 2 if argument in ("-W", "-X") else 1
    return len(arguments)


def _check_free(port: int) -> None:
    check_port(port, "--debug")
    if port == 0:
        raise UserError("--debug 0: name the port that the debugger will attach to")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            raise UserError(describe_port(port, error, "--debug")) from error
