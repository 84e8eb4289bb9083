"""Messages for topics of moto's SNS, and events for the targets of moto's rules.

Targets that are topics and queues get events as on AWS; moto sends to all others. An event is made
only if somebody has used EventBridge.
"""

import copy
import datetime as dt
import json
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

from container.errors import UserError
from local_test.data.disk import DiskError

_EVENTS: Final = "moto.events.models"


class Notices:
    """SNS and EventBridge of one account."""

    def __init__(
        self, account: str, region: str, keeping: Callable[[], AbstractContextManager[None]]
    ) -> None:
        """Import nothing of moto yet; `keeping` writes what the calls inside have changed."""
        self._account = account
        self._keeping = keeping
        self._region = region

    def publish(self, topic: str, message: str) -> None:
        """Publish a message. Raises: UserError if the topic does not exist or does not take it."""
        try:
            with self._keeping():
                self._publish(topic, message)
        except DiskError as error:
            raise UserError(f"SNS does not publish to {topic}: {error}") from error

    def _publish(self, topic: str, message: str) -> None:
        """Publish a message once moto is there: two threads must not import it at a time."""
        from moto.core.exceptions import ServiceException  # noqa: PLC0415 - takes long to import
        from moto.sns.models import sns_backends  # noqa: PLC0415 - takes long to import

        try:
            sns_backends[self._account][self._region].publish(message, arn=topic)
        except ServiceException as error:
            raise UserError(f"SNS does not publish to {topic}: {error.message}") from error

    def send_event(self, kind: str, resources: Sequence[str], detail: Mapping[str, Any]) -> None:
        """Send an event to the targets of the rules that match it; faults go to the log."""
        if _EVENTS not in sys.modules:
            return
        from moto.events.models import events_backends  # noqa: PLC0415 - only if it is used

        event = {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": kind,
            "source": "aws.sagemaker",
            "account": self._account,
            "time": dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "region": self._region,
            "resources": list(resources),
            "detail": dict(detail),
        }
        bus = events_backends[self._account][self._region].event_buses["default"]
        for rule in list(bus.rules.values()):
            if rule.state == "ENABLED" and rule.event_pattern.matches_event(event):
                for target in list(rule.targets):
                    self._try_to_send(rule, target, copy.deepcopy(event))

    def _try_to_send(self, rule: Any, target: Mapping[str, Any], event: dict[str, Any]) -> None:
        try:
            with self._keeping():
                self._send(rule, target, event)
        except Exception as error:  # noqa: BLE001 - a fault of moto, or of a target, is the rule's
            reason = f"rule {rule.name} of EventBridge cannot send to {target['Arn']}: {error!r}"
            print(reason, file=sys.stderr, flush=True)

    def _send(self, rule: Any, target: Mapping[str, Any], event: dict[str, Any]) -> None:
        arn = target["Arn"]
        service = arn.split(":")[2]
        if service == "sns":
            self.publish(arn, _write(target, event))
        elif service == "sqs":
            from moto.sqs.models import sqs_backends  # noqa: PLC0415 - takes long to import

            group = target.get("SqsParameters", {}).get("MessageGroupId")
            queues = sqs_backends[self._account][self._region]
            queues.send_message(arn.rpartition(":")[2], _write(target, event), group_id=group)
        else:
            of_one_target = copy.copy(rule)
            of_one_target.targets = [target]
            moment = dt.datetime.fromisoformat(event["time"]).timestamp()  # moto writes it as text
            of_one_target.send_to_targets({**event, "time": moment, "ingestion-time": moment})


def _write(target: Mapping[str, Any], event: Mapping[str, Any]) -> str:
    """Return the text that a target gets."""
    from moto.events.utils import EventTemplateParser  # noqa: PLC0415 - only if it is used

    if "Input" in target:
        return str(target["Input"])
    transformer = target.get("InputTransformer")
    if transformer is None:
        return json.dumps(event)
    text = EventTemplateParser.parse(
        input_template=transformer["InputTemplate"],
        input_paths_map=transformer.get("InputPathsMap", {}),
        event={**event, "ingestion-time": event["time"]},
    )
    return text if isinstance(text, str) else json.dumps(text)
