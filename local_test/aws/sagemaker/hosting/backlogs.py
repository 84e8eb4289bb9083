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
    if record is None:
        return None
    return record["_requests"]["config"].get("AsyncInferenceConfig")


def measure(account: Account, endpoint: str) -> dict[str, float]:
    """Return the metrics of a running asynchronous endpoint's backlog; nothing for any other."""
    live = find_live(account, endpoint)
    if live is None or find_config(account.store.find(ENDPOINT, endpoint)) is None:
        return {}
    size = live.queue.measure()
    instances = sum(live.deployment.count_instances().values())
    now_s = time.time()
    return {
        "ApproximateBacklogSize": size.count,
        PER_INSTANCE: size.count / max(1, instances),
        "ApproximateAgeOfOldestRequest": max(0.0, now_s - (size.oldest_s or now_s)),
        "HasBacklogWithoutCapacity": float(size.count > 0 and instances == 0),
    }
