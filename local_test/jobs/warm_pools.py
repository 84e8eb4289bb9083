"""Warm pools: a training job leaves its cache directory to the next job that is like it (WP-1)."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from local_test.jobs.status import INTERNAL_ERROR, UNFINISHED

_CACHE: Final = "sagemaker/warmpoolcache"
_ALIKE: Final = (
    *("RoleArn", "VpcConfig", "EnableNetworkIsolation"),
    "EnableInterContainerTrafficEncryption",
)
_ALIKE_RESOURCES: Final = (
    *("InstanceType", "InstanceCount", "InstanceGroups"),
    *("VolumeSizeInGB", "VolumeKmsKeyId"),
)
# Source: Guide `train-warm-pools`.


def describe(job: Mapping[str, Any], now_s: float) -> dict[str, str] | None:
    """Return the WarmPoolStatus of a job that Describe shows, or None if it has no pool."""
    kept_s = job.get("ResourceConfig", {}).get("KeepAlivePeriodInSeconds")
    if "WarmPoolStatus" in job or kept_s is None:
        return job.get("WarmPoolStatus")
    if job["TrainingJobStatus"] in UNFINISHED:
        return {"Status": "InUse"}
    is_lost = (job.get("FailureReason") or "").startswith(INTERNAL_ERROR)
    if is_lost or now_s > job["TrainingEndTime"] + kept_s:
        return {"Status": "Terminated"}
    return {"Status": "Available"}


def take(job: dict[str, Any], request: Mapping[str, Any], now_s: float) -> bool:
    """Give a job's pool to the job that a request creates, if it is available and fits."""
    if describe(job, now_s) != {"Status": "Available"} or _list_alike(job) != _list_alike(request):
        return False
    job["WarmPoolStatus"] = {"Status": "Reused", "ReusedByJob": request["TrainingJobName"]}
    return True


def _list_alike(job: Mapping[str, Any]) -> list[Any]:
    resources = job["ResourceConfig"]
    return [
        *(job.get(name) or None for name in _ALIKE),
        *(resources.get(name) for name in _ALIKE_RESOURCES),
    ]


def hand_over(old: Path, new: Path) -> None:
    """Move the cache from one host's `/opt/ml` to another's, if the container left it in place."""
    if (old / _CACHE).parent.is_symlink() or not (old / _CACHE).is_dir():
        return
    with contextlib.suppress(OSError):  # it became another user's: the next one starts empty
        (old / _CACHE).rename(new / _CACHE)
