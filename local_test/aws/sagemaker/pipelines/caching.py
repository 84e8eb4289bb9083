"""Step caching: a step whose like has succeeded before is not run again.

Source: the developer guide's "Caching pipeline steps".
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from container.errors import UserError
from local_test.aws.account.account import Account
from local_test.aws.account.kinds import PIPELINE_EXECUTION

CACHED: Final = ("Training", "Processing", "Transform", "Tuning", "Lambda")
_DURATION: Final = re.compile(
    r"P?(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?",
    re.IGNORECASE,
)
_SECONDS: Final = (365 * 86400, 30 * 86400, 7 * 86400, 86400, 3600, 60, 1)


def make_key(kind: str, arguments: Mapping[str, Any]) -> str:
    """Return a digest of what a step asks for; the names of jobs do not matter."""
    asked = {key: value for key, value in arguments.items() if not key.endswith("JobName")}
    document = json.dumps([kind, asked], sort_keys=True)
    return hashlib.sha256(document.encode()).hexdigest()


def read_duration(text: str) -> float:
    """Return the seconds of an ISO 8601 duration such as `P30D`, `30d` or `PT1H`.

    Raises: UserError if it is none.
    """
    match = _DURATION.fullmatch(text)
    if match is None or not any(match.groups()):
        raise UserError(f"ExpireAfter {text!r} is not a duration; write P30D, PT12H or PT30M")
    return sum(
        int(number) * seconds
        for number, seconds in zip(match.groups(), _SECONDS, strict=True)
        if number
    )


def find(
    account: Account, execution: Mapping[str, Any], name: str, key: str, *, since: float
) -> tuple[str, Mapping[str, Any]] | None:
    """Return the latest execution of the same pipeline that has such a step, and the step's state.

    `since` is the earliest time at which the step may have ended, in seconds since the epoch.
    """
    for other in reversed(account.store.list(PIPELINE_EXECUTION)):
        is_other = other["_name"] != execution["_name"]
        if not is_other or other["PipelineName"] != execution["PipelineName"]:
            continue
        state = other["_steps"].get(name, {})
        is_equal = state.get("StepStatus") == "Succeeded" and state.get("_key") == key
        if is_equal and state["EndTime"] >= since and "CacheHitResult" not in state:
            return other["PipelineExecutionArn"], state
    return None
