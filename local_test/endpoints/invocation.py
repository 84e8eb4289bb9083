"""An invocation: the headers that pass in each direction, and what came back."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from container.errors import RequestError

HEADER_PREFIX: Final = "x-amzn-sagemaker-"
COMPONENT: Final = HEADER_PREFIX + "inference-component"
_SAGEMAKER_HEADERS: Final = (
    "custom-attributes target-model target-variant target-container-hostname inference-id "
    "inference-component session-id enable-explanations prefix-aware-id"
)
FORWARDED_HEADERS: Final = {"content-type", "accept"} | {
    HEADER_PREFIX + name for name in _SAGEMAKER_HEADERS.split()
}
"""What InvokeEndpoint passes to a container, in lower case (RQ-2)."""
RETURNED_HEADERS: Final = {  # as the API spells them
    "content-type": "Content-Type",
    "x-amzn-sagemaker-custom-attributes": "X-Amzn-SageMaker-Custom-Attributes",
    "x-amzn-sagemaker-new-session-id": "X-Amzn-SageMaker-New-Session-Id",
    "x-amzn-sagemaker-closed-session-id": "X-Amzn-SageMaker-Closed-Session-Id",
}
"""What a container returns to the caller besides the body (RQ-5, SE-1), by lower-case name."""


@dataclass(frozen=True)
class Answer:
    """A container's answer."""

    status: int
    headers: Mapping[str, str]
    """Those of `RETURNED_HEADERS`."""
    body: bytes
    variant: str
    connect_s: float
    """Seconds until the connection was established; 0 for one that was kept open."""
    first_byte_s: float
    """Seconds from the start of the request to the start of the answer: about ModelLatency."""
    total_s: float
    setup_s: float = 0.0
    """Seconds of the cold start that this request waited for (SRV-1)."""
    source: str = ""
    """The container that answered, if the model has several."""
    config: str = ""
    """Name of the endpoint configuration that the container belongs to."""
    findings: tuple[str, ...] = ()
    """Contract clauses that a successful exchange violated."""

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """Parse the body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Stream:
    """A container's answer that is read part by part, as it arrives (ST-1)."""

    status: int
    headers: Mapping[str, str]
    """Those of `RETURNED_HEADERS`."""
    parts: Iterator[bytes]
    """Raises RequestError if the stream breaks or takes too long."""
    variant: str
    config: str = ""
    """Name of the endpoint configuration that the container belongs to."""


class VariantError(RequestError):
    """A request that a variant could not answer."""

    def __init__(self, error: RequestError, variant: str, config: str) -> None:
        """`config` is the name of the variant's endpoint configuration."""
        super().__init__(error.status, str(error))
        self.variant = variant
        self.config = config


class ReplacedError(RequestError):
    """A request to a variant that was replaced meanwhile; another one answers it."""

    def __init__(self, variant: str) -> None:
        """`variant` is the name of the one that was replaced."""
        super().__init__(503, f"variant {variant!r} was stopped or replaced; send it again (HO-4)")


def select_headers(headers: Iterable[tuple[str, str]], names: Collection[str]) -> dict[str, str]:
    """Return the headers whose lower-case name is among `names`; folded ones become one line."""
    found = {name.lower(): value.replace("\r\n", " ") for name, value in headers}
    return {name: value for name, value in found.items() if name in names}


def check_size(body: bytes, maximum_bytes: int) -> None:
    """Check the size of a request. Raises: RequestError 413 if it is too large."""
    if len(body) > maximum_bytes:
        message = f"the body has {len(body)} bytes; at most {maximum_bytes} are allowed (HO-9)"
        raise RequestError(413, message)


def check_answer(answer: Answer, maximum_bytes: int) -> None:
    """Check what the service checks of a container's answer.

    Raises: VariantError 424 for a body that is too large.
    """
    if len(answer.body) > maximum_bytes:
        message = (
            f"the answer has {len(answer.body)} bytes; at most {maximum_bytes} are allowed (HO-9)"
        )
        raise VariantError(RequestError(424, message), answer.variant, answer.config)
