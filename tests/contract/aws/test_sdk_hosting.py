"""Each kind of endpoint, and each way to replace its version, by unmodified SDK code."""

from __future__ import annotations

import json
from typing import Any

import pytest

from local_test.runners.launcher import has_namespaces
from tests.contract.aws import walkthrough
from tests.contract.aws.client import LocalAws
from tests.contract.aws.test_endpoints import collect, listen, make_model
from tests.support import PROGRAMS

LIMIT_S = 1400


def host(aws: LocalAws, sdk: str) -> tuple[dict[str, Any], list[str]]:
    """Return what a program found, and how the asynchronous requests that SNS reports ended."""
    names = [f"first-{sdk}-data", f"second-{sdk}-data"]
    for name in names:
        make_model(aws, name)
    topic = listen(aws, f"hosting-{sdk}")
    models = [f"s3://{aws.bucket}/models/{name}/model.tar.gz" for name in names]
    program = PROGRAMS / f"sdk_{sdk}_hosting.py"
    process = walkthrough.start(aws, sdk, program, aws.image, aws.role, *models, topic)
    facts = json.loads(walkthrough.finish(process, LIMIT_S).splitlines()[-1])
    count = {"v2": 3, "v3": 1}[sdk]
    messages = [json.loads(item["Message"]) for item in collect(aws, f"hosting-{sdk}", count)]
    return facts, sorted(message["invocationStatus"] for message in messages)


@pytest.mark.slow  # the SDKs look at jobs every few seconds
@pytest.mark.timeout(1500)  # their environments are made once, of 180 packages
@pytest.mark.skipif(not has_namespaces(), reason="without namespaces no root is read-only")
def test_the_sdk_v2_serves_on_demand_through_a_chain_and_asynchronously(aws: LocalAws) -> None:
    facts, notices = host(aws, "v2")
    assert facts == {
        "serverless": [1024, "hello"],
        "pipeline": ["hello", "first-v2-data", "second-v2-data"],
        "pipeline transform": "row",
        "async": "hello",
        "async later": "later",
        "async failure": True,
    }
    assert notices == ["Completed"] * 2 + ["Failed"]


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.skipif(not has_namespaces(), reason="without namespaces no root is read-only")
def test_the_sdk_v3_serves_and_replaces_versions_in_each_way(aws: LocalAws) -> None:
    facts, notices = host(aws, "v3")
    first, second = "first-v3-data", "second-v3-data"
    assert facts == {
        "serverless": [1024, "hello"],
        "direct": [second, first],
        "pipeline": [first, second],
        "shadow": [first, "shadow", 1],
        "async": "hello",
        "canary": ["second-v3", second],
        "linear": ["first-v3", first],
        "rolling": ["second-v3", second],
        "at once": ["first-v3", first],
        "refused": "ModelError",
        "rollback": ["first-v3", True],
    }
    assert notices == ["Completed"]
