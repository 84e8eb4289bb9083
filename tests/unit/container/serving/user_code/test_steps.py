"""Invocations as steps: alone and as a batch."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from container.serving.exchange import Response
from container.serving.user_code import steps
from container.serving.user_code.steps import Call, Run


def invocation(data: Any) -> Generator[Call, Any, Response]:
    decoded = yield Call("decode", int, (data,))
    predicted = yield Call(steps.PREDICT, lambda value, _, __: 10 * value, (decoded, 1, None))
    return Response(200, str(predicted).encode())


def test_each_stage_is_called_and_timed() -> None:
    run = Run(invocation("4"))
    run.make_calls()
    assert run.response is not None
    assert run.response.body == b"40"
    assert run.response.seconds is not None
    assert list(run.response.seconds) == ["decode", "predict"]


def test_batch_that_fails_is_repeated_one_by_one() -> None:
    runs = [Run(invocation(data)) for data in ("1", "x", "3")]
    for run in runs:
        run.make_calls(until=steps.PREDICT)
    asked: list[list[int]] = []

    def predict_batch(values: list[int], *_: Any) -> list[int]:
        asked.append(values)
        raise KeyError("all of them")

    steps.predict_together([run for run in runs if run.call], predict_batch)

    assert asked == [[1, 3]]
    assert [run.response.body for run in runs if run.response] == [b"10", b"30"]
    assert isinstance(runs[1].error, ValueError)


@pytest.mark.parametrize(
    ("result", "words"),
    [([1], "1 predictions for 2 inputs"), ({1: 1, 2: 2}, "a dict"), (None, "a NoneType")],
)
def test_batch_must_have_a_prediction_for_each_input(result: Any, words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        steps.call_batch(lambda *_: result, [1, 2], None, [])


def test_coroutine_of_a_handler_that_is_not_async_is_an_error_that_says_what_to_do() -> None:
    async def hidden() -> None:
        """Never run."""

    def steps_of_hidden() -> Generator[Call, Any, Response]:
        yield Call(steps.PREDICT, hidden, ())
        return Response(200)

    run = Run(steps_of_hidden())
    run.make_calls()
    assert "write it as async def" in str(run.error)
