"""Requests of the query protocol that botocore's model forbids."""

from __future__ import annotations

import pytest

from local_test.aws.moto import query_model
from local_test.aws.protocol.messages import AwsError


@pytest.mark.parametrize("service", query_model.MODELS)
def test_an_unknown_action_is_named(service: str) -> None:
    with pytest.raises(AwsError, match="has no action 'Nope'") as caught:
        query_model.check(service, "Nope", ())
    assert (caught.value.code, caught.value.status) == ("InvalidAction", 400)


def test_missing_parameters_are_named() -> None:
    with pytest.raises(AwsError, match=r"AssumeRole needs the parameter\(s\) RoleArn, Role"):
        query_model.check("sts", "AssumeRole", ("Action", "Version"))
    query_model.check("sts", "AssumeRole", ("RoleArn", "RoleSessionName"))
    query_model.check("sts", "GetCallerIdentity", ())
    query_model.check(
        "monitoring", "PutMetricData", ("Namespace", "MetricData.member.1.MetricName")
    )
