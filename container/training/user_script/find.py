"""Finds the user's program: where its code comes from, and of what kind it is."""

import contextlib
import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from container import algorithm, contract
from container.errors import UserError
from container.user_packages.lists import requirement_files

Kind: TypeAlias = Literal["program", "algorithm", "package", "command"]

DEFAULT_PROGRAMS: Final = ("train.py", "train.sh", algorithm.FILE_NAME)
_ARCHIVE_SUFFIXES: Final = (".tar.gz", ".tgz")


@dataclass(frozen=True)
class Program:
    """A user's program."""

    name: str
    """Path below the code directory; empty if it is only known once the code is unpacked."""
    source: str = ""
    """`s3://` address, directory, archive or file; empty if the code directory holds the code."""


def find_program(layout: contract.Layout, environ: Mapping[str, str]) -> Program | None:
    """Find the program that this job runs instead of the bundled algorithm.

    It is named by `SAGEMAKER_PROGRAM` or the hyperparameter `sagemaker_program`, or is one of
    `DEFAULT_PROGRAMS` in the code directory or the channel `code`.
    """
    raw = contract.load_json_object(layout.hyperparameters)
    name = environ.get(contract.PROGRAM_VARIABLE) or _unquote(
        raw.get(contract.PROGRAM_HYPERPARAMETER)
    )
    source = _unquote(raw.get(contract.SUBMIT_DIRECTORY_HYPERPARAMETER)) or environ.get(
        contract.SUBMIT_DIRECTORY_VARIABLE, ""
    )
    if not source and contract.CODE_CHANNEL in contract.load_json_object(layout.input_data_config):
        source = _find_source(layout.channel(contract.CODE_CHANNEL))
    if source and Path(source) == layout.code:
        source = ""
    if name or source:
        return Program(name, source)
    default = find_default(layout.code)
    if default or environ.get(contract.TRAINING_MODULE_VARIABLE):
        return Program(default)
    return None


def find_default(code: Path) -> str:
    """Return the first of `DEFAULT_PROGRAMS` that `code` holds; empty if there is none."""
    return next((name for name in DEFAULT_PROGRAMS if (code / name).is_file()), "")


def classify(code: Path, name: str) -> Kind:
    """Classify the program `name` as the toolkit does; a `pyproject.toml` also makes a package.

    Raises: UserError if the program does not exist or could not start on Linux.
    """
    files = sorted(path.relative_to(code).as_posix() for path in code.rglob("*") if path.is_file())
    _check_name(code, name, files)
    if not name.endswith(".sh") and _is_package(code, files):
        return "package"
    if name not in files:
        near = difflib.get_close_matches(name, files, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        message = f"the program {name!r} is not in {code}{hint}; found: {enumerate_names(files)}"
        raise UserError(message)
    if name.endswith(".py"):
        return "algorithm" if Path(name).name == algorithm.FILE_NAME else "program"
    with (code / name).open("rb") as file:
        if file.readline().endswith(b"\r\n"):
            raise UserError(
                f"{name} has Windows line ends, which a shell reads as part of each command; "
                "save it with LF line ends [IMG-13, TRIP-2]"
            )
    return "command"


def enumerate_names(names: Sequence[str]) -> str:
    """List the first ten names in one line."""
    if not names:
        return "nothing"
    return ", ".join(names[:10]) + (" ..." if len(names) > 10 else "")


def _check_name(code: Path, name: str, files: Sequence[str]) -> None:
    if not name:
        raise UserError(
            f"no program is named and {code} holds none of {', '.join(DEFAULT_PROGRAMS)}; set "
            "SAGEMAKER_PROGRAM or the hyperparameter sagemaker_program to one of: "
            f"{enumerate_names(files)}"
        )
    path = Path(name)
    if path.is_absolute() or ".." in path.parts or name.startswith("-"):
        raise UserError(
            f"the program {name!r} must be a path inside {code}, such as 'train.py' or "
            "'bin/train.sh'"
        )


def _is_package(code: Path, files: Sequence[str]) -> bool:
    if "setup.py" in files:
        return True
    return requirement_files.PROJECT in files and requirement_files.has_project(code)


def _unquote(value: Any) -> str:
    """Read a platform hyperparameter: raw text, or a JSON string since SDK 2.110 (HP-3)."""
    if not isinstance(value, str):
        return ""
    with contextlib.suppress(ValueError, RecursionError):
        decoded = json.loads(value)
        if isinstance(decoded, str):
            return decoded
    return value


def _find_source(channel: Path) -> str:
    """Return the only archive in the channel `code`, else the channel's directory (IN-12)."""
    archives = [path for path in channel.glob("*") if path.name.endswith(_ARCHIVE_SUFFIXES)]
    return str(archives[0] if len(archives) == 1 else channel)
