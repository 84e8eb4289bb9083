"""The OpenAPI document of a server, for `GET /openapi.json`: routes, bodies and answers.

Rules of this file: pure; media types come from `bodies`, so that none can be missing here.
"""

import math
from collections.abc import Sequence
from typing import Any, Final

import container
from container import contract
from container.serving.bodies import decoding, encoding, media_types, pixels

_BYTE: Final = "([0-9]|[1-9][0-9]|1[0-9][0-9]|2[0-4][0-9]|25[0-5])"
_ERROR: Final = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
_REFUSALS: Final = {
    400: "The body, or the request itself, is not as described here.",
    404: "The model does not exist.",
    406: "None of the media types that the server offers is acceptable.",
    408: "The request was not complete in time.",
    409: "A model of this name is already loaded.",
    413: "The body is larger than the limit.",
    415: "The body's content type or encoding is not supported.",
    431: "The head is too long.",
    500: "The server failed; its log has the reason under the same request id.",
    501: "The transfer encoding is not supported.",
    503: (
        "The model is being loaded, too many requests are waiting, or the prediction took too long."
    ),
    507: "The model does not fit into memory.",
}
_ALWAYS: Final = (400, 408, 413, 431, 500, 501, 503)


def describe(
    input_shape: pixels.Shape | None, classes: Sequence[int | str], *, has_models: bool = False
) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of a server.

    `input_shape` is that of one image, None if user code defines the bodies; `has_models` adds the
    routes of a multi-model endpoint.
    """
    invocation = _describe_invocation(input_shape)
    paths: dict[str, Any] = {
        "/ping": {
            method: {"operationId": f"{method}Ping", "responses": {**_answer(None), **_refuse(503)}}
            for method in ("get", "post")
        },
        "/invocations": {"post": {"operationId": "invoke", **invocation}},
        "/execution-parameters": {
            "get": {
                "operationId": "describeExecution",
                "responses": _answer({"$ref": "#/components/schemas/Execution"}),
            }
        },
        "/metrics": {
            "get": {
                "operationId": "renderMetrics",
                "responses": _answer({"type": "string"}, "text/plain; version=0.0.4"),
            }
        },
        "/openapi.json": {
            "get": {"operationId": "describe", "responses": _answer({"type": "object"})}
        },
    }
    if has_models:
        paths |= _describe_models(invocation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Model server", "version": container.__version__},
        "paths": paths,
        "components": {"schemas": _describe_schemas(input_shape, classes)},
    }


def _describe_invocation(input_shape: pixels.Shape | None) -> dict[str, Any]:
    binary = {"type": "string", "format": "binary"}
    attributes = {
        "name": contract.CUSTOM_ATTRIBUTES_HEADER,
        "in": "header",
        "description": "Returned as sent, if it is visible ASCII of at most 1024 characters.",
        "schema": {"type": "string"},
    }
    if input_shape is None:
        content = {"*/*": {"schema": binary}}
        return {
            "parameters": [attributes],
            "requestBody": {"required": True, "content": content},
            "responses": {"default": {"description": "What handlers return.", "content": content}},
        }
    row = rf"{_BYTE}(,{_BYTE}){{{math.prod(input_shape) - 1}}}"
    schemas = {
        media_types.CSV: {"type": "string", "pattern": rf"^{row}(\n{row})*\n?$"},
        media_types.JSON: {"$ref": "#/components/schemas/Images"},
        media_types.JSON_LINES: {
            "$ref": "#/components/schemas/Image",
            "description": "One per line.",
        },
        media_types.MULTIPART: {
            "type": "object",
            "additionalProperties": binary,
            "minProperties": 1,
        },
    }
    answers = {
        media_types.CSV: {"type": "string"},
        media_types.JSON: {"$ref": "#/components/schemas/Answer"},
        media_types.JSON_LINES: {
            "type": "object",
            "description": "One per line; many come in chunks, as they are computed.",
        },
        media_types.NPY: binary,
    }
    return {
        "parameters": [attributes],
        "requestBody": {
            "required": True,
            "content": {name: {"schema": schemas.get(name, binary)} for name in decoding.SUPPORTED},
        },
        "responses": {
            200: {
                "description": "A row of probabilities for each image, in order.",
                "content": {name: {"schema": answers[name]} for name in encoding.ENCODERS},
            },
            **_refuse(406, 415, *_ALWAYS),
        },
    }


def _describe_models(invocation: dict[str, Any]) -> dict[str, Any]:
    name = {
        "name": "name",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "pattern": "^[0-9A-Za-z_-]+$"},
    }
    token = {"name": "next_page_token", "in": "query", "schema": {"type": "string"}}
    model = _answer({"$ref": "#/components/schemas/Model"})
    load = {"type": "object", "required": ["model_name", "url"], "properties": {}}
    load["properties"] = {
        "model_name": {"type": "string", "minLength": 1, "maxLength": 1024},
        "url": {"type": "string"},
    }
    pages = {
        "type": "object",
        "required": ["models"],
        "properties": {
            "models": {"type": "array", "items": {"$ref": "#/components/schemas/Model"}},
            "nextPageToken": {"type": "string"},
        },
    }
    return {
        "/models": {
            "get": {
                "operationId": "listModels",
                "parameters": [token],
                "responses": {**_answer(pages), **_refuse(400)},
            },
            "post": {
                "operationId": "loadModel",
                "requestBody": {"required": True, "content": {media_types.JSON: {"schema": load}}},
                "responses": {**model, **_refuse(404, 409, 507, *_ALWAYS)},
            },
        },
        "/models/{name}": {
            "parameters": [name],
            "get": {"operationId": "describeModel", "responses": {**model, **_refuse(404)}},
            "delete": {"operationId": "unloadModel", "responses": {**model, **_refuse(404)}},
        },
        "/models/{name}/invoke": {
            "parameters": [name],
            "post": {
                "operationId": "invokeModel",
                **invocation,
                "responses": {**invocation["responses"], **_refuse(404)},
            },
        },
    }


def _describe_schemas(
    input_shape: pixels.Shape | None, classes: Sequence[int | str]
) -> dict[str, Any]:
    text = {"type": "string"}
    schemas: dict[str, Any] = {
        "Error": {
            "type": "object",
            "required": ["error", "request_id"],
            "properties": {"error": text, "request_id": text},
        },
        "Execution": {
            "type": "object",
            "required": ["MaxConcurrentTransforms", "BatchStrategy", "MaxPayloadInMB"],
            "properties": {
                "MaxConcurrentTransforms": {"type": "integer", "minimum": 1},
                "BatchStrategy": {"enum": ["MULTI_RECORD", "SINGLE_RECORD"]},
                "MaxPayloadInMB": {"type": "integer", "minimum": 1, "maximum": 100},
            },
        },
        "Model": {
            "type": "object",
            "required": ["modelName", "modelUrl"],
            "properties": {"modelName": text, "modelUrl": text},
        },
    }
    if input_shape is None:
        return schemas
    height, width, channels = input_shape
    values = [
        {"type": "integer", "minimum": 0, "maximum": 255},
        {"type": "number", "minimum": 0, "maximum": 1},
    ]
    size = math.prod(input_shape)
    flat = {"anyOf": [_repeat(pixel, size, size) for pixel in values]}
    rows = [_repeat(_repeat(pixel, channels, channels), width, width) for pixel in values]
    nested = {"anyOf": [_repeat(row, height, height) for row in rows]}
    batch = {"anyOf": [_repeat(image, 1) for image in (flat, nested)]}
    row = _repeat({"type": "number", "minimum": 0, "maximum": 1}, len(classes))
    prediction = {
        "type": "object",
        "required": ["label", "index", "score"],
        "properties": {
            "label": {"enum": list(classes)},
            "index": {"type": "integer"},
            "score": {"type": "number"},
        },
    }
    return schemas | {
        "Image": {
            "description": (
                "Its pixels row by row, or nested: integers, or fractions if divided by 255."
            ),
            "anyOf": [flat, nested],
        },
        "Images": {
            "anyOf": [
                batch,
                {"type": "object", "required": ["instances"], "properties": {"instances": batch}},
            ]
        },
        "Answer": {
            "type": "object",
            "required": ["outputs", "predictions"],
            "properties": {
                "outputs": {"type": "array", "items": {"anyOf": [row, {"type": "null"}]}},
                "predictions": {
                    "type": "array",
                    "items": {"anyOf": [prediction, {"type": "object", "required": ["error"]}]},
                },
            },
        },
    }


def _repeat(items: dict[str, Any], least: int, most: int | None = None) -> dict[str, Any]:
    array = {"type": "array", "items": items, "minItems": least}
    return array if most is None else {**array, "maxItems": most}


def _answer(schema: dict[str, Any] | None, content_type: str = media_types.JSON) -> dict[int, Any]:
    answer: dict[str, Any] = {"description": "OK"}
    if schema is not None:
        answer["content"] = {content_type: {"schema": schema}}
    return {200: answer}


def _refuse(*statuses: int) -> dict[int, Any]:
    return {
        status: {"description": _REFUSALS[status], "content": _ERROR} for status in sorted(statuses)
    }
