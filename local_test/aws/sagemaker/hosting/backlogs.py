"""The backlogs of asynchronous endpoints: their requests without an answer (ASY-1).

Source: the developer guide, "Monitor asynchronous endpoint" and "Autoscale an asynchronous
endpoint".
"""

import time
from typing import Final

from local_test.aws.account.account import Account
from local_test.aws.account.kinds import ENDPOINT
from local_test.aws.account.records import Endpoint, Request
from local_test.aws.sagemaker.live_endpoints import find_live

PER_INSTANCE: Final = "ApproximateBacklogSizePerInstance"


def find_config(record: Endpoint | None) -> Request | None:
    """Return the AsyncInferenceConfig of an endpoint's record, if it has one."""
    return record["_requests"]["config"].get("AsyncInferenceConfig") if record else None


def measure(account: Account, endpoint: str) -> dict[str, float]:
    """Return the metrics of a running asynchronous endpoint's backlog; nothing for any other."""
    live = find_live(account, endpoint)
    if live is None or find_config(account.store.find(ENDPOINT, endpoint)) is None:
        return {}
    size = live.queues.measure()
    instances = sum(live.deployment.count_instances().values())
    age_s = max(0.0, time.time() - size.oldest_s) if size.count else 0.0
    return {
        "ApproximateBacklogSize": size.count,
        PER_INSTANCE: size.count / max(1, instances),
        "ApproximateAgeOfOldestRequest": age_s,
        "HasBacklogWithoutCapacity": float(size.count > 0 and instances == 0),
    }
