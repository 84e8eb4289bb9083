"""Requests of tuning jobs from a few words."""

from __future__ import annotations

from typing import Any

import pytest

from container.errors import UserError
from local_test.cli.remote.tuning_shorthand import (
    STRATEGIES,
    make_config,
    parse_ranges,
    tuning_request,
)
from local_test.requests import shorthand, validation


def test_ranges_have_the_kind_that_their_ends_have() -> None:
    ranges = parse_ranges(
        {
            "epochs": "1:8",
            "width": "16:256:log",
            "rate": "1e-4:.1:log",
            "momentum": "0:0.99:reverse-log",
            "shift": "-1:+1.5",
            "optimizer": "adam,sgd",
            "ratio": "1:2,3:4",
        }
    )
    assert ranges["IntegerParameterRanges"] == [
        {"Name": "epochs", "MinValue": "1", "MaxValue": "8", "ScalingType": "Auto"},
        {"Name": "width", "MinValue": "16", "MaxValue": "256", "ScalingType": "Logarithmic"},
    ]
    assert [item["ScalingType"] for item in ranges["ContinuousParameterRanges"]] == [
        "Logarithmic", "ReverseLogarithmic", "Auto",
    ]  # fmt: skip
    assert ranges["CategoricalParameterRanges"] == [
        {"Name": "optimizer", "Values": ["adam", "sgd"]},
        {"Name": "ratio", "Values": ["1:2", "3:4"]},
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("3", "expected LOW:HIGH"),
        ("", "expected LOW:HIGH"),
        ("1:", "expected LOW:HIGH"),
        ("1:2:3", "expected LOW:HIGH"),
        ("adam", "two or more values"),
        ("nan:1", "expected LOW:HIGH"),
        ("a,,b", "a value is empty"),
        ("a,", "a value is empty"),
        ("1:2:cubic", "unknown scale 'cubic'; choose one of auto, linear, log, reverse-log"),
        ("2:1", "the first number must be less than the second"),
        ("1:1", "the first number must be less than the second"),
        ("0:1:log", "above 0"),
        ("-2:-1:log", "above 0"),
        ("0:1.0:reverse-log", "less than 1"),
        ("1:5:reverse-log", "fractions"),
        ("0.1:1e999", "too large"),
    ],
)
def test_a_range_that_is_none_is_refused(text: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason) as caught:
        parse_ranges({"good": "1:2", "x": text})
    assert f"x={text}: " in str(caught.value)
    assert "good" not in str(caught.value)


def test_all_faults_come_at_once() -> None:
    with pytest.raises(UserError) as caught:
        parse_ranges({"x": "1", "y": "2:1"})
    assert "x=1: " in str(caught.value)
    assert "y=2:1: " in str(caught.value)


def make_request(strategy: str = "Random", **training: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "name": "tuned",
        "image": "mine:1",
        "channels": {"training": "s3://b/data/"},
        "output": "s3://b/out",
        "metric_definitions": [{"Name": "loss", "Regex": "loss=(.*)"}],
        "checkpoints": "s3://b/checkpoints",
        "environment": {"A": "1"},
        "is_isolated": True,
        "is_spot": True,
        **training,
    }
    config = make_config(
        ("Minimize", "loss"),
        parse_ranges({"rate": "0.1:0.2", "depth": "1:9", "optimizer": "adam,sgd"}),
        strategy,
        {"MaxParallelTrainingJobs": 2, "MaxNumberOfTrainingJobs": 4},
        stops_early=True,
    )
    return tuning_request(shorthand.training_request(**values), config)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_request_fits_the_model_of_the_api(strategy: str) -> None:
    request = make_request(strategy, hyperparameters={"epochs": "3"})
    validation.check("CreateHyperParameterTuningJob", request)
    definition = request["TrainingJobDefinition"]
    assert definition["StaticHyperParameters"] == {"epochs": "3"}
    assert definition["EnableManagedSpotTraining"] is True
    assert "TrainingJobName" not in definition
    assert request["HyperParameterTuningJobName"] == "tuned"
    assert request["HyperParameterTuningJobConfig"]["TrainingJobEarlyStoppingType"] == "Auto"


def test_a_value_and_a_range_and_an_objective_that_nothing_finds_are_refused() -> None:
    with pytest.raises(UserError, match="depth, rate: given by -p and by --range"):
        make_request(hyperparameters={"rate": "1", "depth": "2", "epochs": "3"})
    with pytest.raises(UserError, match=r"finds the objective 'loss'.*defined: f1\)"):
        make_request(metric_definitions=[{"Name": "f1", "Regex": "f1=(.*)"}])
    with pytest.raises(UserError, match=r"defined: none\)"):
        make_request(metric_definitions=[])
