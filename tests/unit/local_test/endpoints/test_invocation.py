"""What passes between a caller and a container."""

from __future__ import annotations

import pytest

from container.errors import RequestError
from local_test.endpoints.invocation import (
    FORWARDED_HEADERS,
    RETURNED_HEADERS,
    check_size,
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


def test_a_body_beyond_the_limit_is_refused() -> None:
    with pytest.raises(RequestError) as refusal:
        check_size(b"12345", 4)
    assert refusal.value.status == 413
    check_size(b"1234", 4)
