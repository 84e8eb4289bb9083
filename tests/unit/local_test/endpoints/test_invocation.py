"""What passes between a caller and a container."""

from __future__ import annotations

import pytest

from container.errors import RequestError
from local_test.endpoints.invocation import (
    FORWARDED_HEADERS,
    RETURNED_HEADERS,
    check_request,
    select_headers,
)


def test_only_the_api_s_headers_pass() -> None:
    sent = {"Content-Type": "text/csv", "X-Amzn-SageMaker-Session-Id": "1", "Cookie": "a=b"}
    assert select_headers(sent.items(), FORWARDED_HEADERS) == {
        "content-type": "text/csv",
        "x-amzn-sagemaker-session-id": "1",
    }  # RQ-2
    answered = {"Content-Type": "text/csv", "Server": "x", "X-Amzn-SageMaker-New-Session-Id": "2"}
    assert select_headers(answered.items(), RETURNED_HEADERS) == {
        "content-type": "text/csv",
        "x-amzn-sagemaker-new-session-id": "2",
    }  # RQ-5


@pytest.mark.parametrize(
    ("body", "attributes", "status"),
    [(b"12345", "", 413), (b"", "x" * 1025, 400), (b"", "\u00e9", 400)],
)
def test_a_request_beyond_the_limits_is_refused(body: bytes, attributes: str, status: int) -> None:
    headers = {"x-amzn-sagemaker-custom-attributes": attributes}
    with pytest.raises(RequestError) as refusal:
        check_request(body, headers, 4)
    assert refusal.value.status == status
    check_request(b"1234", {"x-amzn-sagemaker-custom-attributes": "x" * 1024}, 4)
