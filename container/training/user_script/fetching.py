"""Fetches what a program needs from AWS: its code, and the login of its package index.

    python -m container.training.user_script.fetching RESULT SOURCE

Runs in a process of its own, started by `environment`: it loads boto3, and a stop ends it at once.
RESULT becomes a JSON file, a `Fetched` or `{"error": ..., "kind": ...}`. Where `sagemaker-training`
is installed, it unpacks the code.

Rules of this file: only this file imports `sagemaker_training`.
"""

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any, Final, TypedDict

from container import contract
from container.errors import PlatformError, UserError
from container.training.user_script import own_toolkit

REPOSITORY_VARIABLE: Final = "CA_REPOSITORY_ARN"


class Fetched(TypedDict, total=False):
    """What was fetched, besides the code."""

    package_index: str
    """URL of a CodeArtifact repository, with its login."""


def main(result: Path, source: str) -> None:
    """Unpack the code from `source`, if that is not empty; write the answer to `result`."""
    answer: Fetched | dict[str, str] = {}
    try:
        if source:
            _unpack(source, contract.Layout.from_environ(os.environ))
        if os.environ.get(REPOSITORY_VARIABLE):
            answer = {"package_index": _find_package_index()}
    except (UserError, PlatformError) as error:
        answer = {"error": str(error), "kind": type(error).__name__}
    result.write_text(json.dumps(answer), encoding="utf-8")


def _is_installed() -> bool:
    return importlib.util.find_spec("sagemaker_training") is not None


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
        repository = os.environ[REPOSITORY_VARIABLE]
        message = f"pip cannot use the CodeArtifact repository {repository}: {error}"
        raise UserError(message) from error


def _unpack(source: str, layout: contract.Layout) -> None:
    import tarfile

    from botocore import exceptions

    files: Any = own_toolkit
    if _is_installed():  # it also knows S3_ENDPOINT_URL
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


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
