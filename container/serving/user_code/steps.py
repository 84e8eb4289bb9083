"""One invocation as a series of calls of user code, so that each kind of caller can make them.

`Application` writes an invocation once, as a generator that yields each `Call` and is sent its
result. A thread makes the calls in turn, a coroutine awaits those that are asynchronous, and a
batch stops before the prediction, which it makes for several invocations at once.

Rules of this file: what user code raises ends its own invocation only.
"""

import inspect
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from container.serving.exchange import FAULTS, Response

PREDICT: Final = "predict"
_HIDDEN_COROUTINE: Final = (
    "a handler returned a coroutine and is not async def itself: write it as async def"
)


class Call(NamedTuple):
    """A call of user code, and the stage of an invocation that it belongs to."""

    stage: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


Steps: TypeAlias = Generator[Call, Any, Response]


class Run:
    """An invocation on its way through its steps."""

    __slots__ = ("_steps", "call", "error", "response", "seconds")

    def __init__(self, steps: Steps) -> None:
        """Go to the first call."""
        self._steps = steps
        self.seconds: dict[str, float] = {}
        """Of each stage so far."""
        self.response: Response | None = None
        """Once the last step is over."""
        self.error: BaseException | None = None
        """What a step or a call has raised, which was the last."""
        self.call: Call | None = None
        """What is to be called next."""
        self._go_on(None)

    def _go_on(self, result: Any) -> None:
        try:
            self.call = self._steps.send(result)
        except StopIteration as end:
            self.call = None
            self.response = end.value._replace(seconds=self.seconds)
        except FAULTS as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self.call = None
        self.error = error

    def settle(self, result: Any, seconds: float) -> None:
        """Take the result of the call that was due, which took `seconds`."""
        if self.call is not None:
            self.seconds[self.call.stage] = seconds
        self._go_on(result)

    def make_calls(self, until: str = "") -> None:
        """Make the calls that are due, as far as the stage `until`."""
        while self.call is not None and self.call.stage != until:
            started = time.perf_counter()
            try:
                result = self.call.function(*self.call.arguments)
                if inspect.iscoroutine(result):
                    result.close()
                    raise TypeError(_HIDDEN_COROUTINE)
            except FAULTS as error:
                self._fail(error)
            else:
                self.settle(result, time.perf_counter() - started)

    async def await_calls(self) -> None:
        """Make the calls that are due, and await those that are asynchronous."""
        while self.call is not None:
            started = time.perf_counter()
            try:
                result = self.call.function(*self.call.arguments)
                if inspect.isawaitable(result):
                    result = await result
            except FAULTS as error:
                self._fail(error)
            else:
                self.settle(result, time.perf_counter() - started)


def predict_together(runs: Sequence[Run], predict_batch: Callable[..., Any]) -> None:
    """Predict for several runs at once, and make their other calls.

    If that fails, the prediction is repeated for each run by itself.
    """
    if len(runs) > 1:
        started = time.perf_counter()
        try:
            results = call_batch(predict_batch, *_list_arguments(runs))
        except FAULTS:
            pass  # what is at fault fails again, and only that
        else:
            seconds = time.perf_counter() - started
            for run, result in zip(runs, results, strict=True):
                run.settle(result, seconds)
    for run in runs:
        run.make_calls()


def _list_arguments(runs: Sequence[Run]) -> tuple[list[Any], Any, list[Any]]:
    arguments = [run.call.arguments for run in runs if run.call is not None]
    data, models, contexts = zip(*arguments, strict=True)
    return list(data), models[0], list(contexts)


def call_batch(
    predict_batch: Callable[..., Any], data: list[Any], model: Any, contexts: list[Any]
) -> Sequence[Any]:
    """Call a handler that predicts for a list. Raises: TypeError, ValueError for a wrong result."""
    results = predict_batch(data, model, contexts)
    if isinstance(results, (str, bytes, Mapping)) or not hasattr(results, "__len__"):
        raise TypeError(f"predict_batch_fn returned a {type(results).__name__}; a list is expected")
    if len(results) != len(data):
        message = f"predict_batch_fn returned {len(results)} predictions for {len(data)} inputs"
        raise ValueError(message)
    return list(results)
