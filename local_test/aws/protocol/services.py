"""What SageMaker needs of the other services of AWS."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class Alarms(Protocol):
    """The alarms of CloudWatch."""

    def evaluate(self) -> None:
        """Set the state of every alarm by its metric."""

    def find_faults(self, names: Sequence[str]) -> list[str]:
        """Return a line for each alarm that does not exist, or is not evaluated here."""

    def find_tripped(self, names: Sequence[str], since_s: float) -> list[str]:
        """Return the alarms that are in ALARM state, or were since a time in seconds."""

    def find_excess(self, action: str) -> dict[str, float]:
        """Return the alarms in ALARM state that have an action: each metric minus its threshold."""


class Notices(Protocol):
    """What is published: messages of SNS and events of EventBridge."""

    def publish(self, topic: str, message: str) -> None:
        """Publish a message to a topic, which an ARN names. Raises: UserError if it cannot be."""

    def send_event(self, kind: str, resources: Sequence[str], detail: Mapping[str, Any]) -> None:
        """Send an event to the targets of the rules that match it."""


class Services(Protocol):
    """CloudWatch, SNS and EventBridge."""

    @property
    def alarms(self) -> Alarms:
        """The alarms of CloudWatch."""

    @property
    def notices(self) -> Notices:
        """SNS and EventBridge."""

    def find_function(self, arn: str) -> dict[str, Any] | None:
        """Return a function of Lambda: name, handler, runtime, code, environment and limits."""

    def publish_metrics(self, namespace: str, data: list[dict[str, Any]]) -> None:
        """Store `PutMetricData` entries, whose times are seconds since the epoch."""
