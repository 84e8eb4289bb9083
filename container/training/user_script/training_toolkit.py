"""Asks `sagemaker-training` for a user program's code, arguments and `SM_*` variables.

Runs in a process of its own, started by `environment`, because importing the toolkit creates
directories, sets variables and loads boto3. The answer is a JSON file: an `Answer`, or
`{"error": ..., "kind": ...}`. Where the toolkit is not installed, `own_toolkit` answers.

Rules of this file: only this file imports `sagemaker_training`; it leaves nothing behind but the
code that it unpacked.
"""

import importlib.util
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NotRequired, TypedDict

from container import contract
from container.errors import PlatformError, UserError
from container.training.user_script import own_toolkit
from container.training.user_script.find import find_default

_DNS_WAIT_S: Final = 900.0  # DS-4: as long as the toolkit waits
_TOOLKIT_VARIABLES: Final = ("SAGEMAKER_JOB_NAME", "CURRENT_HOST", "SAGEMAKER_REGION")


class Answer(TypedDict):
    """What the toolkit wants a program to be started with."""

    program: str
    arguments: list[str]
    variables: dict[str, str]
    package_index: NotRequired[str]
    """URL of a CodeArtifact repository, with its login."""


class _Given(dict[str, Any]):
    """A mapping that is true when empty.

    For a false one the toolkit reads the file again, and fails if there is none (TF-1).
    """

    def __bool__(self) -> bool:
        return True


def main(result: Path, name: str, source: str) -> None:
    """Unpack the code from `source`, if that is not empty; write the answer to `result`."""
    answer: Answer | dict[str, str]
    try:
        answer = _ask(contract.Layout.from_environ(os.environ), name, source)
    except (UserError, PlatformError) as error:
        answer = {"error": str(error), "kind": type(error).__name__}
    result.write_text(json.dumps(answer), encoding="utf-8")


def _ask(layout: contract.Layout, name: str, source: str) -> Answer:
    make_environment = _find_environment()
    hyperparameters = _decode(contract.load_json_object(layout.hyperparameters))
    if source:
        hyperparameters[contract.SUBMIT_DIRECTORY_HYPERPARAMETER] = source
        _unpack(source, layout)
    os.environ[contract.PROGRAM_VARIABLE] = name = name or find_default(layout.code)
    resources = contract.load_json_object(layout.resource_config) or {
        "current_host": "algo-1",
        "hosts": ["algo-1"],
    }
    _wait_for_peers(resources)
    toolkit = make_environment(
        _Given(resources),
        _Given(contract.load_json_object(layout.input_data_config)),
        _Given(hyperparameters),
    )
    variables = {name: os.environ[name] for name in _TOOLKIT_VARIABLES}
    answer: Answer = {
        "program": name,
        "arguments": toolkit.to_cmd_args(),
        "variables": variables | toolkit.to_env_vars(),
    }
    if os.environ.get("CA_REPOSITORY_ARN"):
        answer["package_index"] = _find_package_index()
    return answer


def _is_installed() -> bool:
    return importlib.util.find_spec("sagemaker_training") is not None


def _find_environment() -> Callable[..., Any]:
    """Return the class that derives arguments and variables: the toolkit's, or ours without it."""
    if not _is_installed():
        return own_toolkit.Environment
    from sagemaker_training import environment, logging_config

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    # Its INFO lines explain the absence of GPUs and Neurons.
    logging_config.get_logger().setLevel(logging.WARNING)
    toolkit: Callable[..., Any] = environment.Environment
    return toolkit


def _find_package_index() -> str:
    """Return the URL, with its login, of the repository that `CA_REPOSITORY_ARN` names.

    Raises: PlatformError without the toolkit, UserError if the repository cannot be used.
    """
    if not _is_installed():
        raise PlatformError(
            "CA_REPOSITORY_ARN needs the package sagemaker-training, which is not installed here; "
            "add it, or name the index in PIP_INDEX_URL"
        )
    from sagemaker_training import modules

    try:
        return str(modules._get_codeartifact_index())  # noqa: SLF001 - the toolkit's only way to it
    except Exception as error:
        repository = os.environ["CA_REPOSITORY_ARN"]
        message = f"pip cannot use the CodeArtifact repository {repository}: {error}"
        raise UserError(message) from error


def _decode(raw: Mapping[str, Any]) -> _Given:
    """Decode hyperparameters as the toolkit does: as JSON if possible, else as plain text."""
    values = _Given()
    for name, text in raw.items():
        try:
            values[name] = json.loads(text)
        except (ValueError, TypeError, RecursionError):
            values[name] = text
    return values


def _unpack(source: str, layout: contract.Layout) -> None:
    import tarfile

    from botocore import exceptions

    files: Any = own_toolkit
    if _is_installed():
        files = importlib.import_module("sagemaker_training.files")
    if layout.code.is_dir() and any(layout.code.iterdir()):
        print(f"{layout.code} already holds code: {source} is not unpacked over it", flush=True)
        return
    code = f"the code at {source}"
    advice = "under network isolation send the code as the channel 'code'"
    try:
        files.download_and_extract(source, str(layout.code))
    except exceptions.NoCredentialsError as error:
        message = f"{code} cannot be fetched: this container has no AWS credentials; {advice}"
        raise UserError(message) from error
    except (exceptions.BotoCoreError, exceptions.ClientError) as error:
        advice = f"the job's role must be allowed to read it; {advice}"
        raise UserError(f"{code} cannot be fetched: {error}; {advice}") from error
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise UserError(f"{code} is not a tar.gz archive: {error}") from error
    except FileNotFoundError as error:
        message = f"{code} does not exist; use s3://..., a directory, a tar.gz archive or a file"
        raise UserError(message) from error
    except OSError as error:
        raise PlatformError(f"{code} cannot be written to {layout.code}: {error}") from error


def _wait_for_peers(resources: Mapping[str, Any]) -> None:
    """Wait until the name of every other host resolves (DS-4)."""
    deadline = time.monotonic() + _DNS_WAIT_S
    for host in sorted(set(resources["hosts"]) - {resources["current_host"]}):
        wait_s = 0.1
        while (error := _look_up(host)) is not None:
            if time.monotonic() + wait_s > deadline:
                message = f"the host name {host!r} still fails to resolve after {_DNS_WAIT_S:g} s"
                raise PlatformError(message) from error
            time.sleep(wait_s)
            wait_s = min(2 * wait_s, 30.0)


def _look_up(host: str) -> OSError | None:
    try:
        socket.getaddrinfo(host, None)
    except OSError as error:
        return error
    return None


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
