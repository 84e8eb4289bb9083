"""The command line: every command, and what its errors and exit codes are.

Flags become requests (`requests.shorthand`), requests become jobs and endpoints. Results go to
standard output, logs and everything else to standard error. Exit codes: 0 done, 1 the job, server
or prediction failed, 2 the command or request is wrong or this machine cannot run it, 130 stopped
by Ctrl-C.
"""

import functools
import importlib
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import typer

from container.errors import PlatformError, RequestError, UserError, describe_refusal
from local_test import proxies
from local_test.cli import extras
from local_test.cli.options import JOBS, Command, Group

_MODULES: Final = {
    "train": "job_commands",
    "tune": "remote.tune_command",
    "evaluate": "job_commands",
    **dict.fromkeys(("serve", "invoke"), "endpoint_commands"),
    "transform": "job_commands",
    "smoke": "smoke_command",
    "conform": "conform_command",
    **dict.fromkeys(("fields", "operations"), "app"),
    **dict.fromkeys(("up", "down", "status", "env", "purge"), "aws_commands"),
    "demo": "smoke_command",
    "runs": "runs.command",
    "aws": "remote.account_commands",
}
"""The module of each command, which most of the others do not need."""


def fields() -> None:
    """Print a Markdown table of every request field: emulated, without effect or refused."""
    from local_test.requests import treatments  # noqa: PLC0415 - as the other commands' modules

    print(treatments.format_table(), end="")


def operations() -> None:
    """Print a Markdown table of every SageMaker operation: executed, recorded or refused."""
    from local_test.aws.process.operations import format_table  # noqa: PLC0415 - the local AWS

    print(format_table(), end="")


def assemble(names: Iterable[str] = tuple(_MODULES)) -> typer.Typer:
    """Return the command line with these commands; by default with all."""
    app = typer.Typer(
        cls=Group,
        help="SageMaker on this machine: train, evaluate and serve with any image or program.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name in names:
        module = importlib.import_module(f"local_test.cli.{_MODULES[name]}")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=name)
        else:
            app.command(cls=Command, hidden=name == "demo")(getattr(module, name))
    return app


def main() -> int:
    """Run the command line; return the exit code."""
    proxies.exempt_this_process()
    try:
        code = _build(sys.argv[1] if len(sys.argv) > 1 else "")(standalone_mode=False)
    except typer.Exit as exit_:
        return exit_.exit_code
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except Exception as error:  # noqa: BLE001 - a bug is raised again
        return _report(error)
    return code if isinstance(code, int) else 0


def _report(error: Exception) -> int:
    """Print an error; return 1 if the container is at fault, and 2 if the command is.

    Raises: the error, if it is a bug.
    """
    from local_test.cli import terminal  # noqa: PLC0415 - only errors need it
    from local_test.endpoints.server import UnhealthyError  # noqa: PLC0415 - as above

    sentence = _explain(error)
    if sentence is None:
        raise error
    terminal.complain(sentence)
    return 1 if isinstance(error, UnhealthyError | RequestError) else 2


@functools.cache
def _build(name: str) -> Callable[..., Any]:
    """Return the command line with the command `name` only, or with all if none has this name.

    All of them take a second to import and to build.
    """
    if name in _MODULES:
        return typer.main.get_group(assemble([name]))
    return typer.main.get_command(assemble())


def _explain(error: Exception) -> str | None:
    """Return one sentence about what the user can change, or None for a bug."""
    if isinstance(error, UserError | PlatformError | RequestError):
        return str(error)
    if isinstance(error, ModuleNotFoundError):
        return extras.explain(error.name)
    if hasattr(error, "format_message"):
        # a usage error of the command-line library, which does not export the class
        text = error.format_message().rstrip(".") or "no command is given"
        is_near = text.endswith("?")
        if (
            "No such option" in text
            and not is_near
            and sys.argv[1] in ("train", "tune", "smoke", "conform")
        ):
            text += "; a hyperparameter is written -p NAME=VALUE"
        separator = " " if is_near else "; "
        return f"{text}{separator}see --help"
    if isinstance(error, OSError):
        return _explain_refusal(error)
    return None


def _explain_refusal(error: OSError) -> str | None:
    """Return what the operating system refused, or None if the error names no path."""
    if error.filename is None:
        return None
    place = Path(str(error.filename))
    if not JOBS.is_dir() and (place.is_relative_to(JOBS) or JOBS.is_relative_to(place)):
        return f"cannot make {JOBS} for jobs: {error.strerror}; LOCAL_TEST_JOBS names another place"
    return describe_refusal(place, error)
