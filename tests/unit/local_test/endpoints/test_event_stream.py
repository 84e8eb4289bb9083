"""Events of a response stream; botocore reads them back."""

from __future__ import annotations

import botocore.eventstream
from hypothesis import given
from hypothesis import strategies as st

from local_test.endpoints import event_stream


@given(st.binary(max_size=200))
def test_an_event_is_read_back_by_botocore(payload: bytes) -> None:
    buffer = botocore.eventstream.EventStreamBuffer()
    buffer.add_data(event_stream.encode_event("PayloadPart", payload))
    event = next(iter(buffer))
    assert event.payload == payload
    assert event.headers == {
        ":event-type": "PayloadPart",
        ":content-type": "application/octet-stream",
        ":message-type": "event",
    }
