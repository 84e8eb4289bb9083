"""Asks `sagemaker-training` what a user's script is to be given: code, arguments and `SM_*` variables.

Runs in a process of its own, started by `script`, because importing the toolkit makes directories,
sets variables and loads boto3. Its answer is a JSON file, `{"program": ..., "arguments": [...],
"variables": {...}}` or
`{"error": ..., "kind": ...}`.

Rules of this file: the only importer of `sagemaker_training`; everything it does is undone by its
end, but the code that it unpacked.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from container import contract
from container.errors import PlatformError, UserError
from container.training.user_script import launch

DNS_WAIT_S: Final = 900.0  # DS-4: as long as the toolkit waits
_TOOLKIT_VARIABLES: Final = ("SAGEMAKER_JOB_NAME", "CURRENT_HOST", "SAGEMAKER_REGION")


class _Given(dict[str, Any]):
    """A mapping that is true when empty: the toolkit reads the file again, and fails where there is none (TF-1)."""

    def __bool__(self) -> bool:
        return True


def main(result: Path, name: str, source: str) -> None:
    """Unpack the code from `source` (empty: it is in place) and write the answer for program `name` to `result`."""
    try:
        answer = _ask(contract.Layout.from_environ(os.environ), name, source)
    except (UserError, PlatformError) as error:
        answer = {"error": str(error), "kind": type(error).__name__}
    result.write_text(json.dumps(answer), encoding="utf-8")


def _ask(layout: contract.Layout, name: str, source: str) -> dict[str, Any]:
    try:
        from sagemaker_training import environment, logging_config
    except ImportError as error:
        message = (
            f"user scripts need the package sagemaker-training, which this image lacks ({error}); "
            "in a checkout, local_test/setup.sh docker/requirements-scripts.txt installs it"
        )
        raise PlatformError(message) from error
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    logging_config.get_logger().setLevel(
        logging.WARNING
    )  # its INFO lines explain the absence of GPUs and Neurons
    hyperparameters = _decode(contract.load_json_object(layout.hyperparameters))
    if source:
        hyperparameters[contract.SUBMIT_DIRECTORY_HYPERPARAMETER] = source
        _unpack(source, layout)
    os.environ[contract.PROGRAM_VARIABLE] = name = name or launch.find_default(layout.code)
    resources = contract.load_json_object(layout.resource_config) or {
        "current_host": "algo-1",
        "hosts": ["algo-1"],
    }
    _wait_for_peers(resources)
    toolkit = environment.Environment(
        _Given(resources),
        _Given(contract.load_json_object(layout.input_data_config)),
        _Given(hyperparameters),
    )
    variables = {name: os.environ[name] for name in _TOOLKIT_VARIABLES}
    answer = {
        "program": name,
        "arguments": toolkit.to_cmd_args(),
        "variables": variables | toolkit.to_env_vars(),
    }
    if os.environ.get("CA_REPOSITORY_ARN"):
        answer["package_index"] = _find_package_index()
    return answer


def _find_package_index() -> str:
    """Ask CodeArtifact for the address, login included, of the repository that `CA_REPOSITORY_ARN` names."""
    from sagemaker_training import modules

    try:
        return str(modules._get_codeartifact_index())  # noqa: SLF001 - the toolkit's only way to it
    except Exception as error:
        message = (
            f"pip cannot use the CodeArtifact repository {os.environ['CA_REPOSITORY_ARN']}: {error}"
        )
        raise UserError(message) from error


def _decode(raw: Mapping[str, Any]) -> _Given:
    """Decode hyperparameters as the toolkit does: JSON where it is JSON, else the text itself."""
    values = _Given()
    for name, text in raw.items():
        try:
            values[name] = json.loads(text)
        except (ValueError, TypeError):
            values[name] = text
    return values


def _unpack(source: str, layout: contract.Layout) -> None:
    import tarfile

    from botocore import exceptions
    from sagemaker_training import files

    if layout.code.is_dir() and any(layout.code.iterdir()):
        print(f"{layout.code} holds code already: {source} is not unpacked over it", flush=True)
        return
    advice = "under network isolation send the code as the channel 'code'"
    try:
        files.download_and_extract(source, str(layout.code))
    except exceptions.NoCredentialsError as error:
        message = f"the code at {source} cannot be fetched: this container has no AWS credentials; {advice}"
        raise UserError(message) from error
    except (exceptions.BotoCoreError, exceptions.ClientError) as error:
        message = f"the code at {source} cannot be fetched: {error}; the job's role must be allowed to read it; {advice}"
        raise UserError(message) from error
    except (tarfile.TarError, EOFError) as error:
        message = f"the code at {source} is no tar.gz archive: {error}"
        raise UserError(message) from error
    except FileNotFoundError as error:
        message = f"the code at {source} does not exist; it may be s3://..., a directory, a tar.gz archive or a file"
        raise UserError(message) from error
    except OSError as error:
        message = f"the code from {source} cannot be written to {layout.code}: {error}"
        raise PlatformError(message) from error


def _wait_for_peers(resources: Mapping[str, Any]) -> None:
    """Wait until every other host's name is known (DS-4)."""
    deadline = time.monotonic() + DNS_WAIT_S
    for host in sorted(set(resources["hosts"]) - {resources["current_host"]}):
        wait_s = 0.1
        while True:
            try:
                socket.getaddrinfo(host, None)
                break
            except OSError as error:
                if time.monotonic() + wait_s > deadline:
                    message = f"the name of host {host!r} is still unknown after {DNS_WAIT_S:g} s: {error}"
                    raise PlatformError(message) from error
                time.sleep(wait_s)
                wait_s = min(2 * wait_s, 30.0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
