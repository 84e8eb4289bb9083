"""The messages about asynchronous invocations."""

import base64
import json
from typing import Any

import pytest

from local_test.endpoints.asynchronous import notification
from local_test.endpoints.asynchronous.accepted import Accepted
from local_test.endpoints.asynchronous.notification import Outcome

HEADERS = {
    "Content-Type": "text/csv",
    "X-Amzn-SageMaker-Accept": "application/json",
    "X-Amzn-SageMaker-Inference-Id": "i",
}
TOPICS = {"SuccessTopic": "good", "ErrorTopic": "bad"}
DONE = Outcome(b"answer", "application/json")
FAILED = Outcome(b"it broke", failure="ClientError: it broke")


def accept(topics: dict[str, Any], source: str | bytes = "s3://b/in") -> Accepted:
    output = {"S3OutputPath": "s3://b", "NotificationConfig": topics}
    return Accepted.make({"OutputConfig": output}, source, HEADERS, 0)


def write(topics: dict[str, Any], outcome: Outcome) -> tuple[str, dict[str, Any]]:
    written = notification.write(accept(topics), outcome, "e")
    assert written is not None
    return written[0], json.loads(written[1])


def test_a_success_says_what_was_asked_and_where_the_answer_is() -> None:
    topic, message = write(TOPICS, DONE)
    assert topic == "good"
    assert message.pop("eventTime").endswith("Z")
    assert message == {
        "awsRegion": "us-east-1",
        "receivedTime": "1970-01-01T00:00:00.000Z",
        "invocationStatus": "Completed",
        "requestParameters": {
            "accept": "application/json",
            "contentType": "text/csv",
            "endpointName": "e",
            "inputLocation": "s3://b/in",
        },
        "responseParameters": {"contentType": "application/json", "outputLocation": "s3://b/i.out"},
        "inferenceId": "i",
        "eventVersion": "1.0",
        "eventSource": "aws:sagemaker",
        "eventName": "InferenceResult",
    }


def test_a_failure_says_why() -> None:
    topic, message = write(TOPICS, FAILED)
    assert (topic, message["invocationStatus"]) == ("bad", "Failed")
    assert message["failureReason"] == "ClientError: it broke"
    assert "responseParameters" not in message


@pytest.mark.parametrize(("outcome", "kind"), [(DONE, "SUCCESS"), (FAILED, "ERROR")])
def test_the_response_is_included_where_it_is_wanted_and_small_enough(
    outcome: Outcome, kind: str
) -> None:
    wanted = {**TOPICS, "IncludeInferenceResponseIn": [f"{kind}_NOTIFICATION_TOPIC"]}
    _, message = write(wanted, outcome)
    assert base64.b64decode(message["responseBody"]["content"]) == outcome.body
    _, other = write(wanted, FAILED if outcome is DONE else DONE)
    assert "responseBody" not in other
    _, large = write(wanted, Outcome(b"x" * 200_000, failure=outcome.failure))
    assert large["responseBody"] == {
        "message": "the response has 200000 bytes, too many for a notification"
    }


def test_without_a_topic_nothing_is_written() -> None:
    assert notification.write(accept({"SuccessTopic": "good"}), FAILED, "e") is None
    assert notification.write(accept({}), DONE, "e") is None


def test_a_request_with_a_body_has_no_object() -> None:
    written = notification.write(accept(TOPICS, b"1,2"), DONE, "e")
    assert written is not None
    assert "inputLocation" not in written[1]
