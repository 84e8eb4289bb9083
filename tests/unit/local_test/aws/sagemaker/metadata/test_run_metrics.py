"""Values of training jobs and of runs: what BatchPutMetrics keeps and BatchGetMetrics answers."""

from __future__ import annotations

import json
import math
import sys
import time
from typing import Any

import pytest

from local_test.aws.account.account import Account
from local_test.aws.account.kinds import TRAINING_JOB
from local_test.aws.protocol import messages
from local_test.aws.protocol.messages import AwsError
from local_test.aws.sagemaker.metadata import run_metrics
from local_test.jobs.result import Metric
from tests.unit.local_test.aws.sagemaker.metadata.test_experiments import call

BY_ITERATION = {"Period": "IterationNumber", "XAxisType": "IterationNumber"}


def ask(account: Account, operation: str, **request: Any) -> dict[str, Any]:
    parsed = messages.parse("sagemaker-metrics", operation, json.dumps(request).encode())
    return run_metrics.OPERATIONS[operation](account, parsed) or {}


@pytest.fixture
def arn(account: Account) -> str:
    arn = account.arn("training-job", "j")
    account.store.insert(TRAINING_JOB, "j", {"TrainingJobName": "j", "TrainingJobArn": arn})
    for index, value in enumerate([1.0, 2.0, 6.0]):
        account.metrics.append("j", Metric("loss", value, 600.0 + 40 * index))
    return arn


def query(account: Account, arn: str, **members: Any) -> dict[str, Any]:
    request = {
        "MetricName": "loss",
        "ResourceArn": arn,
        "MetricStat": "Avg",
        "Period": "OneMinute",
        "XAxisType": "Timestamp",
        **members,
    }
    [result] = ask(account, "BatchGetMetrics", MetricQueries=[request])["MetricQueryResults"]
    found: dict[str, Any] = result
    return found


def test_values_are_grouped_by_minute_or_by_iteration(account: Account, arn: str) -> None:
    assert query(account, arn)["XAxisValues"] == [600, 660]
    assert query(account, arn)["MetricValues"] == [1.5, 6.0]
    assert query(account, arn, MetricStat="Count")["MetricValues"] == [2.0, 1.0]
    assert query(account, arn, **BY_ITERATION)["XAxisValues"] == [0, 1, 2]
    assert query(account, arn, Start=660)["MetricValues"] == [6.0]


def test_what_is_not_of_this_account_has_no_metrics(account: Account, arn: str) -> None:
    result = query(account, arn.replace("/j", "/other"))
    assert result["Status"] == "ValidationError"
    assert "is not a training job or trial component of this account" in result["Message"]


def test_period_and_axis_must_fit(account: Account, arn: str) -> None:
    with pytest.raises(AwsError, match="must both be IterationNumber"):
        query(account, arn, XAxisType="IterationNumber")


def put(account: Account, *values: tuple[float, int], **members: Any) -> dict[str, Any]:
    """Log values at steps, a second apart."""
    now = int(time.time())
    data = [
        {"MetricName": "loss", "Value": value, "Step": step, "Timestamp": now + index, **members}
        for index, (value, step) in enumerate(values)
    ]
    return ask(account, "BatchPutMetrics", TrialComponentName="run-1", MetricData=data)


def test_what_a_run_logs_is_read_back_by_step_and_summarized(account: Account) -> None:
    arn = call(account, "CreateTrialComponent", TrialComponentName="Run-1")["TrialComponentArn"]
    assert "Metrics" not in call(account, "DescribeTrialComponent", TrialComponentName="Run-1")
    assert put(account, (4.0, 10), (3.0, 20), (1.0, 20)) == {}
    found = query(account, arn, **BY_ITERATION, MetricStat="Last")
    assert (found["XAxisValues"], found["MetricValues"]) == ([10, 20], [4.0, 1.0])
    found = query(account, arn, **BY_ITERATION, Start=11, End=20)
    assert (found["XAxisValues"], found["MetricValues"]) == ([20], [2.0])
    described = call(account, "DescribeTrialComponent", TrialComponentName="Run-1")
    condition = {"Name": "Metrics.Max", "Operator": "GreaterThan", "Value": "3.5"}
    wanted = {"Resource": "ExperimentTrialComponent", "SearchExpression": {"Filters": [condition]}}
    [hit] = call(account, "Search", **wanted)["Results"]
    for summary in (described["Metrics"], hit["TrialComponent"]["Metrics"]):
        [loss] = summary
        assert (loss["MetricName"], loss["SourceArn"], loss["Count"]) == ("loss", arn, 3)
        assert (loss["Min"], loss["Max"], loss["Last"]) == (1.0, 4.0, 1.0)
        assert loss["Avg"] == pytest.approx(8 / 3)


def test_a_value_that_is_not_kept_is_named(account: Account) -> None:
    call(account, "CreateTrialComponent", TrialComponentName="run-1")
    answer = put(account, (1.0, 1), Timestamp=time.time() - 15 * 24 * 3600)
    assert answer == {"Errors": [{"Code": "VALIDATION_ERROR", "MetricIndex": 0}]}
    answer = put(account, (1.0, 1), Timestamp=time.time() + 3 * 3600)
    assert answer == {"Errors": [{"Code": "VALIDATION_ERROR", "MetricIndex": 0}]}


@pytest.mark.parametrize("value", ["1e999", "-1e999", "9" * 400])
def test_a_value_beyond_64_bits_is_refused(value: str) -> None:
    data = [{"MetricName": "loss", "Value": 1, "Timestamp": int(time.time())}]
    body = json.dumps({"TrialComponentName": "run-1", "MetricData": data})
    raw = body.replace('"Value": 1', f'"Value": {value}').encode()
    with pytest.raises(AwsError, match="does not fit 64 bits"):
        messages.parse("sagemaker-metrics", "BatchPutMetrics", raw)


def test_values_near_the_largest_number_have_a_mean_and_a_deviation(account: Account) -> None:
    call(account, "CreateTrialComponent", TrialComponentName="run-1")
    put(account, (sys.float_info.max, 1), (sys.float_info.max, 2), (-sys.float_info.max, 3))
    described = call(account, "DescribeTrialComponent", TrialComponentName="run-1")
    [loss] = described["Metrics"]
    assert loss["Avg"] == pytest.approx(sys.float_info.max / 3)
    assert 1.6e308 < loss["StdDev"] < sys.float_info.max


def test_a_log_may_have_values_that_are_not_finite(account: Account, arn: str) -> None:
    for value in (math.inf, -math.inf, math.nan):
        account.metrics.append("j", Metric("loss", value, 600.0))
        for measure in ("Min", "Max", "Avg", "Count", "StdDev", "Last"):
            assert len(query(account, arn, MetricStat=measure)["MetricValues"]) == 2
    assert math.isnan(query(account, arn, MetricStat="StdDev")["MetricValues"][0])


def test_values_belong_to_a_trial_component_and_go_with_it(account: Account) -> None:
    with pytest.raises(AwsError, match="does not exist"):
        put(account, (1.0, 1))
    arn = call(account, "CreateTrialComponent", TrialComponentName="run-1")["TrialComponentArn"]
    put(account, (1.0, 1))
    call(account, "DeleteTrialComponent", TrialComponentName="run-1")
    call(account, "CreateTrialComponent", TrialComponentName="run-1")
    assert query(account, arn)["MetricValues"] == []
