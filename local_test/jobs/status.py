"""The life of a job: its statuses, and the secondary statuses that a training job passes through.

One machine for the harness and for the API of the local AWS: a job enters a status, and the
history keeps when. Times are seconds since the epoch.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NotRequired, TypedDict

UNFINISHED: Final = ("InProgress", "Stopping")
"""The statuses of a job that has not ended."""
ENDS: Final = ("Completed", "Failed", "Stopped", "MaxRuntimeExceeded", "MaxWaitTimeExceeded")
"""The secondary statuses that a training job can end in."""
INTERRUPTED: Final = "Interrupted"
INTERNAL_ERROR: Final = "InternalServerError"
"""The stop reason of a job that SageMaker itself breaks off."""
INTERNAL_ERROR_MESSAGE: Final = (
    "InternalServerError: We encountered an internal error. Please try again."
)

_FOLLOWERS: Final[Mapping[str, Sequence[str]]] = {
    "Starting": ("Downloading",),
    "Downloading": ("Training",),
    "Training": ("Uploading", INTERRUPTED),
    INTERRUPTED: ("Starting",),
    "Restarting": ("Starting", "Downloading"),
    "Uploading": (),
    "Stopping": ("Uploading",),
}
"""What may follow a secondary status, besides an end, `Stopping` and `Restarting`."""
_MESSAGES: Final = {
    "Starting": "Preparing the instances for training",
    "Downloading": "Downloading input data",
    "Training": "Training image download completed. Training in progress.",
    "Uploading": "Uploading generated training model",
    INTERRUPTED: "The spot instances were taken back",
    "Restarting": "Restarting the training job after an internal error",
    "Stopping": "Stopping the training job",
    "Completed": "Training job completed",
    "Failed": "Training job failed",
}


class Transition(TypedDict):
    """One entry of `SecondaryStatusTransitions`."""

    Status: str
    StartTime: float
    EndTime: NotRequired[float]
    StatusMessage: str


def may_follow(current: str, status: str) -> bool:
    """Return whether a training job may go from one secondary status to another."""
    if current in ENDS or current == status:
        return False
    always = (*ENDS, "Stopping", "Restarting")
    return status in always or status in _FOLLOWERS[current]


def enter(
    history: Sequence[Transition], status: str, now_s: float, message: str = ""
) -> list[Transition]:
    """Return a job's history after it enters a secondary status.

    Raises: ValueError if the status may not follow the last one.
    """
    entered = Transition(
        Status=status,
        StartTime=now_s,
        StatusMessage=message or _MESSAGES.get(status, "Training job stopped"),
    )
    if status in ENDS:
        entered["EndTime"] = now_s
    if not history:
        return [entered]
    last = history[-1]
    if not may_follow(last["Status"], status):
        text = f"a training job cannot go from {last['Status']} to {status}"
        raise ValueError(text)
    left = Transition(
        Status=last["Status"],
        StartTime=last["StartTime"],
        EndTime=now_s,
        StatusMessage=last["StatusMessage"],
    )
    return [*history[:-1], left, entered]


def judge(stop_reason: str, *, has_failed: bool) -> tuple[str, str]:
    """Return the status and secondary status of a job that has ended (OUT-1, OUT-10)."""
    if has_failed or stop_reason == INTERNAL_ERROR:
        return "Failed", "Failed"
    if stop_reason:
        return "Stopped", stop_reason
    return "Completed", "Completed"
