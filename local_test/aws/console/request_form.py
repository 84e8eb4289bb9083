"""What the playground's form offers: by the endpoint's own OpenAPI document, and the requests seen.

Rules of this file: the document is the container's, so nothing in it is trusted to have a form.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from container.errors import RequestError
from local_test.aws.account.account import Account
from local_test.aws.account.meter import Example
from local_test.aws.account.records import Endpoint
from local_test.aws.sagemaker.hosting.live_components import find_live as find_component
from local_test.aws.sagemaker.live_endpoints import find_live
from local_test.endpoints.server import Server
from local_test.requests import model_containers

_OPERATION: Final = ("paths", "/invocations", "post")
_LIMIT_S: Final = 2.0
_DEPTH: Final = 12  # of a schema
_EDGE: Final = 1024  # pixels; of a picture that can be drawn
_CHANNELS: Final = (1, 3)


def make_form(account: Account, record: Endpoint, component: str = "") -> dict[str, Any]:
    """Return content types, the shape of a picture, and examples, for the page's script.

    They are those of an inference component if `component` names one.
    """
    name = record["EndpointName"]
    document = _read_document(_list_servers(account, name, component))
    meter = account.component_meter(component) if component else account.meter(name)
    examples = meter.examples()
    models = record["_requests"]["models"].values()
    return {
        "account": account.number,
        "command": account.command,
        "region": account.region,
        "endpoint": name,
        "component": component,
        "shape": find_shape(document),
        "types": _merge(list_types(document), [item.content_type for item in examples]),
        "accepts": _merge(list_accepts(document), [item.accept for item in examples]),
        "examples": [_show_example(item) for item in examples],
        "has_models": any(map(_is_multi_model, models)),
        "source": _describe_source(document, examples),
    }


def _list_servers(account: Account, name: str, component: str) -> list[Server]:
    if component:
        found = find_component(account, component)
        return found.variant.servers if found and found.variant else []
    live = find_live(account, name)
    return live.servers() if live else []


def _read_document(servers: list[Server]) -> Any:
    """Return the OpenAPI document of the first server; None without one."""
    for server in servers[:1]:
        try:
            status, body = server.client.exchange("GET", "/openapi.json", limit_s=_LIMIT_S)
            return json.loads(body) if status == 200 else None
        except (RequestError, ValueError, RecursionError):
            return None
    return None


def _is_multi_model(model: Mapping[str, Any]) -> bool:
    containers = model_containers.list_containers(model)
    return any(item.is_multi_model for item in containers)


def _describe_source(document: Any, examples: list[Example]) -> str:
    if list_types(document):
        return "The form follows the openapi.json of the endpoint."
    if examples:
        return "The form is filled from a request that the endpoint answered."
    return (
        "The endpoint has no openapi.json and has answered no request yet, so nothing is filled in."
    )


def _merge(*lists: list[str]) -> list[str]:
    return list(dict.fromkeys(name for names in lists for name in names if name))


def _show_example(example: Example) -> dict[str, str | None]:
    text = None
    if example.body is not None:
        with contextlib.suppress(UnicodeDecodeError):
            text = example.body.decode()
    return {"type": example.content_type, "accept": example.accept, "text": text}


def list_types(document: Any) -> list[str]:
    """Return the content types of `POST /invocations`; wildcards name none."""
    return _list_names(_walk(document, *_OPERATION, "requestBody", "content"))


def list_accepts(document: Any) -> list[str]:
    """Return the content types of its answer."""
    return _list_names(_walk(document, *_OPERATION, "responses", "200", "content"))


def _list_names(content: Any) -> list[str]:
    return [name for name in content if "*" not in name] if isinstance(content, dict) else []


def _walk(node: Any, *names: str) -> Any:
    for name in names:
        if not isinstance(node, dict):
            return None
        node = node.get(name)
    return node


def find_shape(document: Any) -> list[int] | None:
    """Return height, width and channels of the pictures that a document's schemas describe.

    That is an array of arrays of arrays of numbers, each of one certain length.
    """
    for schema in _list_schemas(_walk(document, "components", "schemas"), _DEPTH):
        shape = _measure(schema)
        if shape is not None and len(shape) == 3:
            height, width, channels = shape
            if channels in _CHANNELS and max(height, width) <= _EDGE:
                return shape
    return None


def _list_schemas(node: Any, depth: int) -> Iterator[Mapping[str, Any]]:
    """Yield every object of a schema, outer ones first."""
    if depth == 0:
        return
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from _list_schemas(value, depth - 1)
    elif isinstance(node, list):
        for value in node:
            yield from _list_schemas(value, depth - 1)


def _measure(schema: Any) -> list[int] | None:
    """Return the lengths of nested arrays of numbers; None if one has no certain length."""
    lengths: list[int] = []
    while isinstance(schema, dict) and schema.get("type") == "array" and len(lengths) < _DEPTH:
        length = schema.get("minItems")
        if not isinstance(length, int) or length < 1 or length != schema.get("maxItems"):
            return None
        lengths.append(length)
        schema = schema.get("items")
    is_number = isinstance(schema, dict) and schema.get("type") in ("integer", "number")
    return lengths if is_number else None
