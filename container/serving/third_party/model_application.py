"""Answers requests with a third-party model.

Numbers go in as they come, nothing is scaled. A body is JSON in one of the forms of
`predict_requests`, JSON lines, CSV with or without a header, npy, or a picture where the input is
one. The answer is JSON, CSV, JSON lines or npy.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from container import contract
from container.errors import RequestError
from container.serving import inference
from container.serving.bodies import arrays, content_encoding, media_types, negotiation
from container.serving.bodies.content_encoding import Expansion
from container.serving.exchange import Request, Response
from container.serving.records import columnar, csv_rules, libsvm, multipart
from container.serving.records.table import Table
from container.serving.third_party import (
    answers,
    bounds,
    csv_bodies,
    model_files,
    picture_inputs,
    predict_requests,
    runtime_faults,
)
from container.serving.third_party.names import check_distinct
from container.serving.third_party.predict_requests import PredictRequest
from container.serving.third_party.signature import Model, Signature, Tensors


@dataclass(frozen=True)
class Found(model_files.ModelFile):
    """A model that will be served."""

    default_accept: str = media_types.JSON
    payload_bytes: int = contract.REALTIME_PAYLOAD_BYTES
    """What pictures may expand to."""
    end_of_line: bool = True
    """Whether a newline follows the last line of an answer; not in a transform job (BT-8)."""

    def load(self) -> ModelApplication:
        """Load the model. Raises: UserError if it cannot be loaded."""
        return ModelApplication(self.load_model(), self)


class ModelApplication:
    """The application around one third-party model."""

    def __init__(self, model: Model, found: Found) -> None:
        self._model = model
        self._found = found
        default = found.default_accept
        self._offered: tuple[str, ...] = answers.TYPES
        if default in answers.TYPES:
            self._offered = (default, *(name for name in answers.TYPES if name != default))
        self._decoders: dict[str, Callable[[bytes, Mapping[str, str]], PredictRequest]] = {
            media_types.JSON: self._decode_json,
            media_types.CSV: self._decode_csv,
            media_types.NPY: lambda body, _: PredictRequest(arrays.load_npy(body)),
            media_types.JSON_LINES: self._decode_json_lines,
            **dict.fromkeys(picture_inputs.TYPES, self._decode_picture),
            media_types.MULTIPART: self._decode_multipart,
            media_types.LIBSVM: self._decode_libsvm,
            media_types.PARQUET: functools.partial(self._decode_table, columnar.decode_parquet),
            media_types.ARROW: functools.partial(self._decode_table, columnar.decode_arrow),
        }

    def estimate_s(self, request: Request) -> float:  # noqa: ARG002 - Application's
        """Return infinity: how long the model takes is unknown."""
        return math.inf

    def invoke(self, request: Request) -> Response:
        """Answer `POST /invocations`; never raises."""
        return inference.guard(self._answer, request, body=request.body)

    def _answer(self, request: Request) -> Response:
        accept = request.headers.get("accept", "")
        answer_type = media_types.choose(accept, self._offered)
        if answer_type is None:
            message = f"Accept {accept[:200]!r} cannot be answered; possible: "
            raise RequestError(406, message + ", ".join(self._offered))
        asked = self._decode(request)
        self._check_signature(asked.signature_name)
        data = picture_inputs.unpack(asked.data, self._model.signature, self._found.payload_bytes)
        with runtime_faults.as_client_faults(self._model):
            prediction = self._model.predict(data)
        body = answers.encode(
            prediction, answer_type, by_row=asked.by_row, end_of_line=self._found.end_of_line
        )
        return Response(200, body, answer_type)

    def _decode(self, request: Request) -> PredictRequest:
        content_type = request.headers.get("content-type", "")
        name, parameters = negotiation.parse_media_type(content_type)
        decoder = self._decoders.get(media_types.unify(name))
        if decoder is None:
            given = "a request without a content type"
            if name:
                given = f"content type {name[:100]!r}"
            supported = ", ".join(self._decoders)
            raise RequestError(415, f"{given} is not supported; supported: {supported}")
        body = content_encoding.undo(request.body, request.headers, self._found.payload_bytes)
        if not body:
            raise RequestError(400, f"the body is empty; {name} is expected")
        return decoder(body, parameters)

    def _decode_json(self, body: bytes, parameters: Mapping[str, str]) -> PredictRequest:
        return predict_requests.decode(bounds.decode_text(body, parameters))

    def _decode_json_lines(self, body: bytes, parameters: Mapping[str, str]) -> PredictRequest:
        rows = predict_requests.parse_lines(bounds.decode_text(body, parameters))
        return PredictRequest(predict_requests.decode_rows(rows))

    def _decode_csv(self, body: bytes, parameters: Mapping[str, str]) -> PredictRequest:
        table = bounds.decode_text(body, parameters)
        has_header = csv_rules.read_header_parameter(parameters)
        data = csv_bodies.decode(table, self._model.signature, has_header=has_header)
        return PredictRequest(data)

    def _decode_picture(self, body: bytes, _: Mapping[str, str]) -> PredictRequest:
        payload_bytes = self._found.payload_bytes
        return PredictRequest(picture_inputs.decode(body, self._model.signature, payload_bytes))

    def _decode_multipart(self, body: bytes, parameters: Mapping[str, str]) -> PredictRequest:
        """Decode the parts in their order, as one batch."""
        batches = []
        room = self._found.payload_bytes
        for number, part in enumerate(multipart.split(body, parameters), start=1):
            given = negotiation.parse_media_type(part.content_type)
            name = media_types.name_part(given.name, part.file_name, part.content)
            decoder = self._decoders.get(name)
            if decoder is None or name == media_types.MULTIPART:
                message = f"part {number} has no media type that is known, or no Content-Type"
                raise RequestError(415, f"{message}; send one, or a file name such as a.csv")
            try:
                asked = decoder(bytes(part.content), given.parameters)
                self._check_signature(asked.signature_name)
                data = picture_inputs.unpack(asked.data, self._model.signature, room)
            except RequestError as error:
                raise RequestError(error.status, f"part {number}: {error}") from None
            if isinstance(data, Mapping):
                message = f"part {number} names its columns; send rows without names in parts"
                raise RequestError(400, message)
            batches.append(np.atleast_1d(data))
            room -= data.nbytes
            if room < 0:
                raise RequestError(413, "the parts of the request expand to more than its limit")
        if len({batch.shape[1:] for batch in batches}) > 1:
            raise RequestError(400, "the parts of one request must have the same shape")
        return PredictRequest(np.concatenate(batches))

    def _decode_libsvm(self, body: bytes, parameters: Mapping[str, str]) -> PredictRequest:
        charge = Expansion(self._found.payload_bytes).take
        columns = _count_columns(self._model.signature)
        return PredictRequest(libsvm.decode_table(body, parameters, columns, charge))

    def _decode_table(
        self, read: Callable[[bytes, columnar.Charge], Table], body: bytes, _: Mapping[str, str]
    ) -> PredictRequest:
        """Decode named columns: by name if the model's have names, else in their order."""
        table = read(body, Expansion(self._found.payload_bytes).take)
        if self._model.signature.column_names:
            check_distinct(table.names)
            return PredictRequest(dict(zip(table.names, table.columns, strict=True)))
        return PredictRequest(table.to_array())

    def _check_signature(self, name: str | None) -> None:
        known = getattr(self._model, "signature_name", "serving_default")
        if name not in (None, known):
            message = f"the model has no signature {name[:100]!r}; it is served by {known!r}"
            raise RequestError(400, message)


def _count_columns(signature: Signature) -> int | None:
    """Return how many values a row has, or None if the model does not say."""
    if not isinstance(signature, Tensors):
        count: int | None = getattr(signature, "count", None)
        return count
    if len(signature.tensors) != 1 or not signature.tensors[0].instance_shape:
        return None
    product = 1
    for side in signature.tensors[0].instance_shape:
        if side is None:
            return None
        product *= side
    return product
