"""The message about an asynchronous invocation, for a topic of SNS (ASY-1).

Source: the developer guide, "Check prediction results".
"""

import base64
import datetime as dt
import json
from dataclasses import dataclass
from typing import Any, Final

from local_test import identity
from local_test.endpoints.asynchronous.accepted import Accepted
from local_test.endpoints.invocation import HEADER_PREFIX

_MOST_BYTES: Final = 256 * 1024  # SNS takes no larger message
_PARAMETERS: Final = {
    "accept": HEADER_PREFIX + "accept",
    "contentType": "content-type",
    "customAttributes": HEADER_PREFIX + "custom-attributes",
}


@dataclass(frozen=True)
class Outcome:
    """How an invocation ended."""

    body: bytes
    """What is stored: the answer, or why there is none."""
    content_type: str = ""
    failure: str = ""
    """Empty if the container has answered."""


def write(accepted: Accepted, outcome: Outcome, endpoint: str) -> tuple[str, str] | None:
    """Return a topic and the message for it, or None if nobody wants one."""
    config = accepted.config["OutputConfig"].get("NotificationConfig", {})
    kind = "ERROR" if outcome.failure else "SUCCESS"
    topic = config.get("ErrorTopic" if outcome.failure else "SuccessTopic")
    if topic is None:
        return None
    headers = accepted.headers
    given = {name: headers[key] for name, key in _PARAMETERS.items() if key in headers}
    given["endpointName"] = endpoint
    if isinstance(accepted.source, str):
        given["inputLocation"] = accepted.source
    receipt = accepted.receipt
    message: dict[str, Any] = {
        "awsRegion": identity.region(),
        "eventTime": _format(dt.datetime.now(dt.UTC)),
        "receivedTime": _format(dt.datetime.fromtimestamp(accepted.received_s, dt.UTC)),
        "invocationStatus": "Failed" if outcome.failure else "Completed",
        "requestParameters": given,
        "inferenceId": receipt["InferenceId"],
        "eventVersion": "1.0",
        "eventSource": "aws:sagemaker",
        "eventName": "InferenceResult",
    }
    if outcome.failure:
        message["failureReason"] = outcome.failure
    else:
        place = {"contentType": outcome.content_type, "outputLocation": receipt["OutputLocation"]}
        message["responseParameters"] = place
    if f"{kind}_NOTIFICATION_TOPIC" in config.get("IncludeInferenceResponseIn", ()):
        content = base64.b64encode(outcome.body).decode()
        message["responseBody"] = {"content": content, "encoding": "BASE64"}
        if len(json.dumps(message)) > _MOST_BYTES:
            too_large = f"the response has {len(outcome.body)} bytes, too many for a notification"
            message["responseBody"] = {"message": too_large}
    return str(topic), json.dumps(message)


def _format(moment: dt.datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
