"""Commands that run a program under debugpy, and what cannot be debugged."""

from __future__ import annotations

import importlib.util
import socket
from pathlib import Path

import pytest

from container.errors import UserError
from local_test.cli.debugging import DebugOptions, set_defaults, wrap
from local_test.cli.options import ContainerOptions
from local_test.endpoints.server import Limits
from local_test.requests import shorthand
from tests.support import free_port

_FOUND = importlib.util.find_spec("debugpy")
assert _FOUND is not None
assert _FOUND.origin is not None
DEBUGGER = [str(Path(_FOUND.origin).parent), "--listen", "127.0.0.1:5678"]


@pytest.mark.parametrize(
    ("command", "flags", "rest"),
    [
        (["python", "-m", "container"], [], ["-m", "container"]),
        (["/opt/bin/python3.13", "train.py", "-m", "x"], [], ["train.py", "-m", "x"]),
        (["python3", "-u", "-X", "dev", "-Wd", "a.py"], ["-u", "-X", "dev", "-Wd"], ["a.py"]),
        (["python", "-W", "ignore::m", "-c", "pass"], ["-W", "ignore::m"], ["-c", "pass"]),
        (["python", "-uBm", "app", "-v"], ["-uB"], ["-m", "app", "-v"]),
    ],
)
def test_the_debugger_comes_before_the_program(
    command: list[str], flags: list[str], rest: list[str]
) -> None:
    python = [command[0], "-Xfrozen_modules=off", *flags]
    assert wrap(command, 5678, waits=False) == [*python, *DEBUGGER, *rest]
    waiting = [*python, *DEBUGGER, "--wait-for-client", *rest]
    assert wrap(command, 5678, waits=True) == waiting


@pytest.mark.parametrize(
    "command", ["./train.sh", "bash train.sh", "python", "python -u", "python -", "pythonic a"]
)
def test_only_python_programs_can_be_debugged(command: str) -> None:
    with pytest.raises(UserError, match="--debug needs a Python program"):
        wrap(command.split(), 5678, waits=True)


def test_a_port_that_cannot_be_used_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for wrong, reason in ((port, "in use"), (0, "name the port"), (65536, "0 to 65535")):
            with pytest.raises(UserError, match=rf"--debug {wrong}: .*{reason}"):
                DebugOptions(wrong).make_runner(ContainerOptions())


@pytest.mark.parametrize(
    ("options", "container", "reason"),
    [
        (DebugOptions(no_wait=True), ContainerOptions(), "--no-wait is for --debug PORT"),
        (DebugOptions(1), ContainerOptions(image="mine"), "leave out --image"),
        (DebugOptions(free_port()), ContainerOptions(program="./x.sh"), "found ./x.sh"),
    ],
)
def test_what_cannot_be_debugged_is_refused(
    options: DebugOptions, container: ContainerOptions, reason: str
) -> None:
    with pytest.raises(UserError, match=reason):
        options.make_runner(container)


def test_the_debugger_has_to_reach_everything_that_runs() -> None:
    options = DebugOptions(5678)
    options.check_hosts(1)
    with pytest.raises(UserError, match="this request has 2 hosts"):
        options.check_hosts(2)
    with pytest.raises(UserError, match="leave out --isolated"):
        options.check_hosts(1, is_isolated=True)
    DebugOptions().check_hosts(2, is_isolated=True)


def test_a_server_may_stand_at_a_breakpoint_and_keeps_the_users_settings() -> None:
    requests = shorthand.endpoint_requests(name="x", image="any", model=None)
    [model] = requests.models.values()
    set_defaults(requests, {"SAGEMAKER_MODEL_SERVER_WORKERS": "3"})

    limits = DebugOptions(5678).limit(requests)

    assert limits is not None
    assert limits.invocation_s > Limits().invocation_s
    environment = model["PrimaryContainer"]["Environment"]
    assert environment["SAGEMAKER_MODEL_SERVER_WORKERS"] == "3"
    assert environment["SAGEMAKER_GUNICORN_WORKER_CLASS"] == "gthread"
    assert DebugOptions().limit(requests) is None
