"""The request context that handlers may take as their last argument.

Its methods are those of the model server's context (multi-model-server, `mms/context.py`). Each
request has a context of its own, so that requests cannot disturb each other.
"""

import logging
import uuid
from collections.abc import Callable, Mapping
from typing import Any

log = logging.getLogger(__name__)


class Headers(dict[str, str]):
    """Request headers under their customary names, found in any case."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__({name.title(): value for name, value in headers.items()})

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.title())

    def __contains__(self, name: object) -> bool:
        return super().__contains__(str(name).title())

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name.title(), default)


class RequestProcessor:
    """The headers of the request, and the status and headers that the handler sets."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self.status: int | None = None
        self._phrase = ""
        self._request = Headers(headers)
        self._response: dict[str, str] = {}

    def get_request_properties(self) -> Mapping[str, str]:
        return self._request

    def get_request_property(self, key: str) -> str | None:
        found: str | None = self._request.get(key)
        return found

    def report_status(self, code: int | str, reason_phrase: str | None = None) -> None:
        """Set the response's status; the phrase is not sent, only kept for the handler."""
        self.status = int(code) if isinstance(code, str) else code
        self._phrase = reason_phrase or ""

    def get_response_status_code(self) -> int:
        return self.status or 200

    def get_response_status_phrase(self) -> str:
        return self._phrase

    def add_response_property(self, key: str, value: str) -> None:
        self._response[key] = value

    def get_response_headers(self) -> dict[str, str]:
        return self._response

    def get_response_header(self, key: str) -> str | None:
        return self._response.get(key)


class Metrics:
    """Metrics of a handler: each is a line of the log, and is added up for `/metrics`."""

    def __init__(self, observe: Callable[[str, float], None] | None) -> None:
        self._observe = observe

    def _add(self, name: str, value: float, *_: Any, **__: Any) -> None:
        log.info("metric %s=%s;", name, value)
        if self._observe is not None:
            self._observe(str(name), float(value))

    add_metric = add_counter = add_time = add_size = add_percent = add_error = _add


class Context:
    """One request, and the response to it as far as the handler sets it."""

    def __init__(
        self,
        headers: Mapping[str, str],
        model_dir: str,
        observe: Callable[[str, float], None] | None = None,
    ) -> None:
        """`observe` is called with each metric of the handler's."""
        self.model_name = "model"
        self.manifest: dict[str, Any] = {}
        self.system_properties = {"model_dir": model_dir, "gpu_id": None, "batch_size": 1}
        self.request_ids = {0: headers.get("x-amzn-sagemaker-inference-id") or uuid.uuid4().hex}
        self.request_processor = [RequestProcessor(headers)]
        self.metrics = Metrics(observe)
        self._content_type: str | None = None
        self.request_form = ""
        """`instances` or `inputs` if the body was a predict request of TensorFlow Serving's."""

    @property
    def status(self) -> int | None:
        """The status that the handler has set, if any."""
        return self.request_processor[0].status

    def get_request_id(self, idx: int = 0) -> str:
        return self.request_ids[idx]

    def get_request_header(self, idx: int, key: str) -> str | None:
        return self.request_processor[idx].get_request_property(key)

    def get_all_request_header(self, idx: int = 0) -> Mapping[str, str]:
        return self.request_processor[idx].get_request_properties()

    def set_response_content_type(self, idx: int, value: str) -> None:  # noqa: ARG002 - the API
        """Keep a media type, without effect: as in the toolkit, the handler's result decides."""
        self._content_type = value

    def get_response_content_type(self, idx: int = 0) -> str | None:  # noqa: ARG002 - the API
        return self._content_type

    def set_response_status(self, code: int = 200, phrase: str = "", idx: int = 0) -> None:
        self.request_processor[idx].report_status(code, phrase)

    def set_all_response_status(self, code: int = 200, phrase: str = "") -> None:
        self.set_response_status(code, phrase)

    def get_response_status(self, idx: int = 0) -> tuple[int, str]:
        processor = self.request_processor[idx]
        return processor.get_response_status_code(), processor.get_response_status_phrase()

    def set_response_header(self, idx: int, key: str, value: str) -> None:
        self.request_processor[idx].add_response_property(key, value)

    def get_response_headers(self, idx: int = 0) -> dict[str, str]:
        return self.request_processor[idx].get_response_headers()
