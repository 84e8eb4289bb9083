"""Requests in files, and printed as JSON."""

import json
from pathlib import Path
from typing import Any

from container.errors import UserError, describe_absence, describe_refusal
from local_test.cli import terminal
from local_test.data.record_formats import unite
from local_test.requests.endpoint_requests import EndpointRequests
from local_test.requests.validation import ValidRequest


def load(path: Path | None) -> dict[str, Any] | None:
    """Read a request from a file, or None without one.

    Raises: UserError if the file is unreadable, or does not contain fields in JSON or YAML.
    """
    if path is None:
        return None
    content = read_bytes(path)
    document = _parse_json(path, content) if path.suffix == ".json" else _parse_yaml(path, content)
    if not document or not isinstance(document, dict):
        raise UserError(f"{path} contains {str(document)[:40]}; a request is an object with fields")
    return document


def _parse_json(path: Path, content: bytes) -> Any:
    try:
        return json.loads(content, object_pairs_hook=unite)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON: {error}") from error


def _parse_yaml(path: Path, content: bytes) -> Any:
    import yaml  # noqa: PLC0415 - only requests in YAML need it

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:  # noqa: FBT001 - theirs
            unite([(str(key.value), value) for key, value in node.value])
            return super().construct_mapping(node, deep)

    try:
        return yaml.load(content, Loader)  # noqa: S506 - which is a safe one
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is not YAML: {error}") from error


def load_endpoint(path: Path | None) -> EndpointRequests | None:
    """Read the requests of an endpoint from a file, or None without one.

    Raises: UserError if the file is unreadable, or not what `serve --print-request` prints.
    """
    document = load(path)
    if document is None:
        return None
    try:
        requests = EndpointRequests(**document)
        requests.models.values()
        requests.endpoint["EndpointName"]
    except (TypeError, AttributeError, KeyError) as error:
        raise UserError(
            f"{path} does not describe an endpoint. Expected what --print-request prints: models "
            "(CreateModel by name), config (CreateEndpointConfig) and endpoint (CreateEndpoint); "
            f"found {', '.join(document)}"
        ) from error
    return requests


def read_bytes(path: Path) -> bytes:
    """Read a file that the command line names. Raises: UserError if it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(describe_absence(path)) from error
    except OSError as error:
        raise UserError(describe_refusal(path, error)) from error


def show(request: ValidRequest) -> int:
    """Print a request as JSON; return the exit code."""
    text = json.dumps(request.fields, indent=2)
    if "file://" in text:
        terminal.note("before you send this request to AWS, replace file:// URIs and the role")
    print(text)
    return 0
