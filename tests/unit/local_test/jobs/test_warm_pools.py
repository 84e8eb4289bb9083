"""Warm pools: which job takes one, when it ends, and what it hands over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from local_test.jobs import warm_pools

JOB: dict[str, Any] = {
    "TrainingJobName": "first",
    "TrainingJobStatus": "Completed",
    "TrainingEndTime": 100.0,
    "RoleArn": "r",
    "EnableNetworkIsolation": False,
    "ResourceConfig": {"InstanceType": "m", "InstanceCount": 1, "KeepAlivePeriodInSeconds": 60},
}
NEXT: dict[str, Any] = {
    "TrainingJobName": "next",
    "RoleArn": "r",
    "ResourceConfig": {"InstanceType": "m", "InstanceCount": 1},
}


@pytest.mark.parametrize(
    ("changes", "now_s", "status"),
    [
        ({}, 160.0, "Available"),
        ({}, 160.1, "Terminated"),
        ({"TrainingJobStatus": "InProgress"}, 1000.0, "InUse"),
        ({"TrainingJobStatus": "Failed", "FailureReason": "AlgorithmError: x"}, 101.0, "Available"),
        ({"FailureReason": "InternalServerError: x"}, 101.0, "Terminated"),
        ({"WarmPoolStatus": {"Status": "Reused", "ReusedByJob": "x"}}, 101.0, "Reused"),
    ],
)
def test_a_pool_is_available_for_its_time(
    changes: dict[str, Any], now_s: float, status: str
) -> None:
    found = warm_pools.describe({**JOB, **changes}, now_s)
    assert found is not None
    assert found["Status"] == status
    assert warm_pools.take({**JOB, **changes}, NEXT, now_s) is (status == "Available")


@pytest.mark.parametrize(
    "changes",
    [
        {"RoleArn": "other"},
        {"EnableNetworkIsolation": True},
        {"ResourceConfig": {"InstanceType": "m", "InstanceCount": 2}},
        {"VpcConfig": {"Subnets": ["s"]}},
    ],
)
def test_a_job_that_differs_takes_no_pool(changes: dict[str, Any]) -> None:
    job = dict(JOB)
    assert not warm_pools.take(job, {**NEXT, **changes}, 101.0)
    assert job == JOB
    assert warm_pools.take(job, NEXT, 101.0)
    assert job["WarmPoolStatus"] == {"Status": "Reused", "ReusedByJob": "next"}


def test_a_job_without_a_period_has_no_pool() -> None:
    assert warm_pools.describe(NEXT, 0.0) is None


def test_a_cache_moves_unless_a_link_took_its_place(tmp_path: Path) -> None:
    for name in ("old", "new", "next"):
        (tmp_path / name / "sagemaker/warmpoolcache").mkdir(parents=True)
    (tmp_path / "old/sagemaker/warmpoolcache/file").write_text("kept")

    warm_pools.hand_over(tmp_path / "old", tmp_path / "new")
    assert (tmp_path / "new/sagemaker/warmpoolcache/file").read_text() == "kept"

    (tmp_path / "old/sagemaker").rmdir()
    (tmp_path / "old/sagemaker").symlink_to(tmp_path / "new/sagemaker")
    warm_pools.hand_over(tmp_path / "old", tmp_path / "next")
    assert (tmp_path / "new/sagemaker/warmpoolcache/file").exists()
