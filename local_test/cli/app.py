"""The command line: every command, and what its errors and exit codes are.

Flags become requests (`requests.shorthand`), requests become jobs and endpoints. Results go to
standard output, logs and everything else to standard error. Exit codes: 0 done, 1 the job, server
or prediction failed, 2 the command or request is wrong or this machine cannot run it, 130 stopped
by Ctrl-C.
"""

import copy
import errno
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from container.errors import PlatformError, RequestError, UserError
from local_test import proxies
from local_test.cli import (
    aws_commands,
    conform_command,
    endpoint_commands,
    extras,
    job_commands,
    smoke_command,
    terminal,
)
from local_test.cli.options import JOBS, Command, Group
from local_test.cli.remote import account_commands, tune_command
from local_test.cli.runs import command as runs
from local_test.endpoints.server import UnhealthyError
from local_test.requests import treatments

app = typer.Typer(
    cls=Group,
    help="SageMaker on this machine: train, evaluate and serve with any image or program.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def fields() -> None:
    """Print a Markdown table of every request field: emulated, without effect or refused."""
    print(treatments.format_table(), end="")


def operations() -> None:
    """Print a Markdown table of every SageMaker operation: executed, recorded or refused."""
    from local_test.aws.process.operations import format_table  # noqa: PLC0415 - the local AWS

    print(format_table(), end="")


for _command in (
    *(job_commands.train, tune_command.tune, job_commands.evaluate),
    *(endpoint_commands.serve, endpoint_commands.invoke),
    *(job_commands.transform, smoke_command.smoke, conform_command.conform),
    *(fields, operations),
    *(aws_commands.up, aws_commands.down, aws_commands.status, aws_commands.env),
    aws_commands.purge,
):
    app.command(cls=Command)(_command)
app.add_typer(runs.app, name="runs")
app.command(cls=Command, hidden=True)(smoke_command.demo)
app.add_typer(account_commands.app, name="aws")


def main() -> int:
    """Run the command line; return the exit code."""
    proxies.exempt_this_process()
    try:
        code = _build(sys.argv[1] if len(sys.argv) > 1 else "")(standalone_mode=False)
    except (UnhealthyError, RequestError) as error:
        terminal.complain(str(error))
        return 1
    except (UserError, PlatformError) as error:
        terminal.complain(str(error))
        return 2
    except typer.Exit as exit_:
        return exit_.exit_code
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except Exception as error:
        sentence = _explain(error)
        if sentence is None:
            raise
        terminal.complain(sentence)
        return 2
    return code if isinstance(code, int) else 0


@functools.cache
def _build(name: str) -> Callable[..., Any]:
    """Return the command line with the command `name` only, or with all if none has this name.

    Typer takes longer to build all commands than many of them take.
    """
    chosen = copy.copy(app)
    chosen.registered_commands = [
        info
        for info in app.registered_commands
        if info.callback and typer.main.get_command_name(info.callback.__name__) == name
    ]
    chosen.registered_groups = [info for info in app.registered_groups if info.name == name]
    if chosen.registered_commands or chosen.registered_groups:
        return typer.main.get_group(chosen)
    return typer.main.get_command(app)


def _explain(error: Exception) -> str | None:
    """Return one sentence about what the user can change, or None for a bug."""
    if isinstance(error, ModuleNotFoundError):
        return extras.explain(error.name)
    if hasattr(error, "format_message"):
        # a usage error of the command-line library, which does not export the class
        return _explain_usage(error.format_message())
    if isinstance(error, OSError):
        return _explain_refusal(error)
    return None


def _explain_usage(text: str) -> str:
    """Return one sentence about a command line that is not understood."""
    text = text.rstrip(".") or "no command is given"
    separator = " " if text.endswith("?") else "; "
    return f"{text}{separator}see --help"


def _explain_refusal(error: OSError) -> str | None:
    """Return what the operating system refused, or None if the error names no port and no path."""
    if error.errno == errno.EADDRINUSE:
        return "the port is in use; end the program that listens on it, or choose another --port"
    if error.filename is None:
        return None
    place = Path(str(error.filename))
    if not JOBS.is_dir() and (place.is_relative_to(JOBS) or JOBS.is_relative_to(place)):
        return f"cannot make {JOBS} for jobs: {error.strerror}; LOCAL_TEST_JOBS names another place"
    return f"{error.filename}: {error.strerror}"
