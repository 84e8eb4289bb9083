"""The headers of the runtime API as members of its operations."""

from __future__ import annotations

import pytest

from container.errors import RequestError
from local_test.endpoints.invocation_members import Notes, admit

PREFIX = "x-amzn-sagemaker-"
STREAM = "InvokeEndpointWithResponseStream"


@pytest.mark.parametrize(
    ("operation", "header", "value", "message"),
    [
        ("InvokeEndpoint", "custom-attributes", "x" * 1025, "CustomAttributes: expected at most"),
        ("InvokeEndpoint", "custom-attributes", "\u00e9", "CustomAttributes: '\u00e9' does not"),
        ("InvokeEndpoint", "inference-id", "x" * 65, "InferenceId: expected at most 64"),
        ("InvokeEndpoint", "target-model", " a", "TargetModel: ' a' does not match"),
        ("InvokeEndpoint", "session-id", "a b", "SessionId: 'a b' does not match"),
        ("InvokeEndpoint", "enable-explanations", "x", "ExplainerConfig.*leave it out"),
        (STREAM, "session-id", "NEW_SESSION", "SessionId: 'NEW_SESSION' does not match"),
        (
            "InvokeEndpointAsync",
            "requestttlseconds",
            "1h",
            "RequestTTLSeconds: expected an int",
        ),
        ("InvokeEndpointAsync", "requestttlseconds", "9" * 5000, "RequestTTLSeconds: expected"),
        (
            "InvokeEndpointAsync",
            "target-variant",
            "v",
            "target-variant: InvokeEndpointAsync has no",
        ),
        (STREAM, "enable-explanations", "x", "enable-explanations: .* has no such header"),
        ("InvokeEndpointAsync", "filename", "a.b.c", "Filename: 'a.b.c' does not match"),
    ],
)
def test_what_the_api_does_not_accept_is_refused_by_name(
    operation: str, header: str, value: str, message: str
) -> None:
    with pytest.raises(RequestError, match=message) as refused:
        admit(operation, {PREFIX + header: value})
    assert refused.value.status == 400


def test_all_faults_come_in_one_message() -> None:
    headers = {PREFIX + "inference-id": "x" * 65, "accept": "x" * 1025}
    with pytest.raises(RequestError, match=r"InferenceId: .*; Accept: "):
        admit("InvokeEndpoint", headers)


def test_what_has_no_effect_is_named() -> None:
    headers = {
        "content-type": "text/csv",
        PREFIX + "session-id": "NEW_SESSION",
        PREFIX + "custom-attributes": "x" * 1024,
        PREFIX + "unknown": "é",
    }
    assert admit("InvokeEndpoint", headers) == []
    [note] = admit(STREAM, {PREFIX + "prefix-aware-id": "a"})
    assert note.startswith("PrefixAwareId has no effect here: it is for the RoutingStrategy")
    assert note.endswith("and the container gets it")
    reported: list[str] = []
    notes = Notes(reported.append)
    for _ in range(2):
        notes.report([note])
    assert reported == [note]
