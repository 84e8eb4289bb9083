"""Tests the project on the local SageMaker: `pytest`, or `pytest --sagemaker-image NAME`."""

from pathlib import Path

REQUEST = Path(__file__).parents[1] / "request.csv"  # the fixtures come with byo-sagemaker


def test_training_leaves_a_model(training_job):
    assert training_job.model.stat().st_size > 0, training_job.log


def test_each_row_of_a_request_is_answered(endpoint):
    answer = endpoint.invoke(REQUEST)
    assert answer.status == 200, answer.text
    assert len(answer.json()) == 2
