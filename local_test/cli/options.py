"""Options in groups: a command takes dataclasses, and their fields are its options.

`option` declares a field, `with_groups` adds the options of its groups to a command.
"""

import functools
import inspect
import itertools
import os
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Final, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from container import contract
from container.errors import IS_PACKAGE, UserError
from local_test.runners.interface import Runner

CHECKOUT: Final = Path(__file__).resolve().parents[2]
"""The directory of `container` and `local_test`: a checkout, or an environment's packages."""
JOBS: Final = Path(
    os.environ.get("LOCAL_TEST_JOBS") or (Path.cwd() if IS_PACKAGE else CHECKOUT) / "jobs"
)
"""Where jobs and endpoints have their directories; an installed package uses the current one."""
OWN_PROGRAM: Final = "python -m container"

_VALUES: Final = {
    "<str>": "TEXT",
    "<list[str]>": "TEXT",
    "<path>": "PATH",
    "<int>": "NUMBER",
    "<int range>": "NUMBER",
    "<float>": "NUMBER",
}
"""What the help calls a value, by Typer's name for its type, which is Python's."""


class _PlainHelp:
    """Help that names values in words, and shows no value for a flag: `--spot true` is an error."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse a command line. Raises: UserError if an option has an empty value."""
        params: list[Any] = self.params  # type: ignore[attr-defined] # Typer's
        own = [param for param in params if param.param_type_name == "option"]
        named = [param for param in own if not (param.multiple or param.is_flag)]
        names = {f"{name}=" for param in named for name in param.opts}
        joined = [*args, *map("=".join, itertools.pairwise(args))]
        for text in names.intersection(joined):
            raise UserError(f"{text[:-1]} has no value; give one, or leave it out")
        return super().parse_args(ctx, args)  # type: ignore[misc, no-any-return] # Typer's

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, with names for their values."""
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc] # Typer's
        for param in params:
            if param.param_type_name == "argument":  # its name and its help say what it is
                param.display_type_rich = lambda ctx: None  # noqa: ARG005 - Typer's
            elif param.metavar is None:
                shown = param.display_type(ctx) if hasattr(param, "display_type") else ""
                param.metavar = "" if param.is_flag else _VALUES.get(shown)
        return params


class Command(_PlainHelp, TyperCommand):
    """A command."""


class Group(_PlainHelp, TyperGroup):
    """A group of commands."""


def option(default: Any, text: str, names: Sequence[str] = ()) -> Any:
    """Declare an option: a field of a group, with its help text; by default it has its own name."""
    return field(default=default, metadata={"option": typer.Option(*names, help=text)})


def flag(text: str, name: str) -> Any:
    """Declare a flag, which is off by default."""
    return option(default=False, text=text, names=(name,))


def name_option() -> Any:
    """Declare `--name`."""
    return option(None, "Name of the job or endpoint; by default it contains the time.")


def metric_option() -> Any:
    """Declare `--metric`."""
    return option(
        None, "Metric definition, as NAME=REGEX; by default those of the bundled program."
    )


def isolated_option() -> Any:
    """Declare `--isolated`."""
    text = "Run without a network (EnableNetworkIsolation); each host has ports of its own."
    return flag(text, "--isolated")


@dataclass(frozen=True)
class ContainerOptions:
    """Which container runs, and how."""

    image: str | None = option(None, "Run this image in Docker.")
    program: str = option(
        OWN_PROGRAM, "Run this command as a process; a job or server adds `train` or `serve` to it."
    )
    base_dir: bool = flag(
        "Set SAGEMAKER_BASE_DIR instead of mounting a private /opt/ml.", "--base-dir"
    )
    memory: str | None = option(None, "Memory limit of a container, such as 512m or 2g.")
    shm_size: str | None = option(None, "Size of /dev/shm of a container; by default 64m.")
    gpus: bool = flag("Give the container all GPUs of this machine.", "--gpus")
    env: list[str] | None = option(
        None, "Environment variable for the container, as NAME=VALUE.", ("--env", "-e")
    )

    @property
    def is_own_program(self) -> bool:
        """Whether the bundled program runs, whatever Python is called."""
        return self.image is None and self.program.endswith(" -m container")

    @property
    def image_name(self) -> str:
        """The image as requests name it."""
        from local_test.requests import shorthand  # noqa: PLC0415 - most commands do without

        return self.image or shorthand.PROGRAM_IMAGE

    @property
    def environment(self) -> dict[str, str]:
        """The variables of `--env`."""
        return parse_pairs("--env", self.env)

    def define_metrics(self, texts: Sequence[str] | None) -> list[dict[str, str]]:
        """Return the MetricDefinitions of `--metric`; our own program has its own."""
        given = parse_pairs("--metric", texts)
        if given:
            return [{"Name": name, "Regex": pattern} for name, pattern in given.items()]
        if not self.is_own_program:
            return []
        return [dict(definition) for definition in contract.METRIC_DEFINITIONS]

    def make_runner(self, wrap: Callable[[Sequence[str]], list[str]] = list) -> Runner:
        """Return the Docker runner for an image, else the process runner.

        `wrap` changes the command of a program.
        """
        limit_bytes = _parse_size("--memory", self.memory)
        shm_bytes = _parse_size("--shm-size", self.shm_size)
        if self.image is not None:
            # The engine's client is slow to import.
            from local_test.runners.docker import DockerRunner  # noqa: PLC0415 - see above

            return DockerRunner(
                self.image, memory_bytes=limit_bytes, gpus=self.gpus, shm_bytes=shm_bytes
            )
        for flag_name, what in (("--gpus", self.gpus), ("--shm-size", self.shm_size)):
            if what:
                message = f"{flag_name} needs --image; a program sees all that this machine has"
                raise UserError(message)
        from local_test.runners.process import ProcessRunner  # noqa: PLC0415 - as above

        return ProcessRunner(
            wrap(split_command("--program", self.program)),
            directory=CHECKOUT if self.is_own_program else Path.cwd(),
            is_private=False if self.base_dir else None,
            memory_bytes=limit_bytes,
        )


@dataclass(frozen=True)
class DataOptions:
    """What a training job learns from."""

    channel: list[str] | None = option(
        None, "Input channel, as NAME=PATH or NAME=URI.", ("--channel", "-c")
    )
    hyperparameter: list[str] | None = option(
        None, "Hyperparameter, as NAME=VALUE; values are strings.", ("--hyperparameter", "-p")
    )

    @property
    def channels(self) -> dict[str, str]:
        """The data by channel. Raises: UserError if one is empty, which would be this directory."""
        pairs = parse_pairs("--channel", self.channel)
        for name in [name for name, path in pairs.items() if not path]:
            raise UserError(f"--channel {name}= has no path; write {name}=PATH")
        return pairs

    @property
    def hyperparameters(self) -> dict[str, str]:
        """The values by name."""
        return parse_pairs("--hyperparameter", self.hyperparameter)


@dataclass(frozen=True)
class RequestOptions:
    """A request instead of flags."""

    request: Path | None = option(
        None, "Read the entire request from this JSON or YAML file, instead of from flags."
    )
    print_request: bool = flag("Print the request as JSON and exit.", "--print-request")


@dataclass(frozen=True)
class JobRequestOptions(RequestOptions):
    """A job's request, and the form of its result."""

    as_json: bool = flag("Print the result as JSON, as Describe returns it.", "--json")


def with_groups(command: Callable[..., int]) -> Callable[..., int]:
    """Add to a command the options of its groups: of the parameters that are dataclasses."""
    groups: dict[str, Any] = {}
    parameters: list[inspect.Parameter] = []
    for name, parameter in _list_parameters(command).items():
        group: Any = parameter.annotation
        if inspect.isclass(group) and is_dataclass(group):
            groups[name] = group
            parameters += _list_parameters(group).values()
        else:
            parameters.append(parameter)

    @functools.wraps(command)
    def run(**values: Any) -> int:
        for name, group in groups.items():
            members = {key: values.pop(key) for key in _list_parameters(group)}
            values[name] = group(**members)
        return command(**values)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _list_parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    hints = get_type_hints(function, include_extras=True)
    if is_dataclass(function):
        for item in fields(function):
            if "option" in item.metadata:
                hints[item.name] = Annotated[hints[item.name], item.metadata["option"]]
    return {
        name: parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in inspect.signature(function).parameters.items()
    }


def parse_pairs(flag: str, texts: Sequence[str] | None) -> dict[str, str]:
    """Read the NAME=VALUE texts of a repeated flag.

    Raises: UserError if one has another form, or a name is given twice.
    """
    pairs: dict[str, str] = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise UserError(f"{flag} {text!r}: expected NAME=VALUE")
        if key in pairs:
            raise UserError(f"{flag} {key!r} is given twice: {pairs[key]!r} and {value!r}")
        pairs[key] = value
    return pairs


def split_command(flag: str, text: str) -> list[str]:
    """Split a command line as a shell does.

    Raises: UserError if a quotation does not end, or there is no program.
    """
    try:
        command = shlex.split(text)
    except ValueError as error:
        raise UserError(f"{flag} {text!r} is not a command line: {error}") from error
    if not command:
        raise UserError(f"{flag} {text!r} does not name a program")
    return command


def check_port(port: int, flag: str = "--port") -> None:
    """Refuse a number that is not a port. Raises: UserError."""
    if not 0 <= port < 65536:
        raise UserError(f"{flag} {port}: expected 0 to 65535")


def _parse_size(flag: str, text: str | None) -> int | None:
    if text is None:
        return None
    match = re.fullmatch(r"([1-9][0-9]{0,14})([kmg]?)", text.lower())
    if match is None:
        raise UserError(
            f"{flag} {text[:40]!r}: expected a size such as 512m or 2g, or a number of bytes; "
            "at most 15 digits"
        )
    return int(match[1]) << 10 * "_kmg".index(match[2] or "_")
