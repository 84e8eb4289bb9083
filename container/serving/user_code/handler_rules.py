"""Rules of inference code: its functions, their arguments, and which of them exclude each other.

Pure: used when the code is loaded, and by `doctor`, which does not run it.
"""

import difflib
import inspect
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from container.errors import UserError

BATCH_FUNCTION: Final = "predict_batch_fn"
STREAM_FUNCTION: Final = "stream_fn"
TOOLKIT_FUNCTIONS: Final = {
    "model_fn": 1,
    "input_fn": 2,
    "predict_fn": 2,
    "output_fn": 2,
    "transform_fn": 4,
    "pre_model_fn": 1,
    "model_warmup_fn": 2,
    BATCH_FUNCTION: 2,
    STREAM_FUNCTION: 2,
}
"""Functions of `sagemaker-inference`, and two of ours: their arguments without the context."""
WRONG_STREAM: Final = (
    f"{STREAM_FUNCTION} must be an asynchronous generator, since a worker serves many streams: "
    f"async def {STREAM_FUNCTION}(parts, model), with yield for each reply"
)
TFS_FUNCTIONS: Final = {"handler": 2, "input_handler": 2, "output_handler": 2}
"""Functions of the TensorFlow Serving container: the number of their arguments."""

FUNCTIONS: Final = (*TOOLKIT_FUNCTIONS, *TFS_FUNCTIONS)
_ENDING: Final = re.compile(r"_?(function|func|fun|fnc|fc)$")
_NEARNESS: Final = 0.865  # prediction_fn is near predict_fn, put_fn is not near input_fn


def find_contradictions(names: Collection[str]) -> list[str]:
    """Return a message for each set of functions that exclude each other."""
    faults = []
    names = set(names)
    parts = sorted({"input_fn", "predict_fn", "output_fn", BATCH_FUNCTION} & names)
    if "transform_fn" in names and parts:
        faults.append(f"transform_fn replaces all three and excludes {', '.join(parts)}")
    if "handler" in names and {"input_handler", "output_handler"} & names:
        faults.append("handler replaces both and excludes input_handler and output_handler")
    tools = sorted(names & TOOLKIT_FUNCTIONS.keys())
    tfs = sorted(names & TFS_FUNCTIONS.keys())
    if tools and tfs:
        faults.append(f"functions of two kinds are mixed: {', '.join(tools)} and {', '.join(tfs)}")
    return faults


def is_asynchronous(function: Callable[..., Any]) -> bool:
    """Return whether a function is `async def`, with or without `yield`."""
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def find_wrong_kinds(functions: Mapping[str, Callable[..., Any]]) -> list[str]:
    """Return a message for each function that must not, or must, be `async def`."""
    faults = []
    asynchronous = {name for name, function in functions.items() if is_asynchronous(function)}
    faults += [
        f"{name} cannot be async def; write transform_fn, or input_fn, predict_fn and output_fn"
        for name in sorted(asynchronous & TFS_FUNCTIONS.keys())
    ]
    stream = functions.get(STREAM_FUNCTION)
    if stream is not None and not inspect.isasyncgenfunction(stream):
        faults.append(WRONG_STREAM)
    if asynchronous and BATCH_FUNCTION in functions:
        first = min(asynchronous)
        faults.append(
            f"{first} is async def, and {BATCH_FUNCTION} predicts for requests that wait for each "
            "other; leave out one of the two"
        )
    return faults


def find_misspelt(names: Collection[str]) -> list[str]:
    """Return a message for each function whose name is nearly that of one that is not there.

    It would be ignored, and something else done in its place.
    """
    faults = []
    absent = [name for name in FUNCTIONS if name not in names]
    for name in sorted(set(names) - set(FUNCTIONS)):
        meant = _ENDING.sub("_fn", name.lower())
        near = difflib.get_close_matches(meant, absent, n=1, cutoff=_NEARNESS)
        if near and meant.endswith(("fn", "er", "ers")):
            faults.append(f"{name} would be ignored; did you mean {near[0]}?")
    return faults


def find_wrong_count(name: str, taken: int) -> str:
    """Return a message if the function `name` may not take `taken` arguments; empty if it may."""
    count = TOOLKIT_FUNCTIONS.get(name)
    if count is None:
        count = TFS_FUNCTIONS[name]
        possible = str(count)
    else:
        possible = f"{count} or, with the context, {count + 1}"
    if taken == count or (taken == count + 1 and name in TOOLKIT_FUNCTIONS):
        return ""
    return f"{name} takes {taken} arguments; possible: {possible}"


def bind_all(functions: Mapping[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """Let each function be called with a context, whether or not it takes one.

    Raises: UserError for functions that contradict each other or take a wrong number of arguments.
    """
    faults = find_contradictions(functions)
    faults += find_wrong_kinds(functions)
    bound = {}
    for name, function in functions.items():
        taken = len(inspect.signature(function).parameters)
        fault = find_wrong_count(name, taken)
        if fault:
            faults.append(fault)
        else:
            bound[name] = _bind(function, name, taken)
    if faults:
        raise UserError.from_faults("wrong inference code", faults)
    return bound


def _bind(function: Callable[..., Any], name: str, taken: int) -> Callable[..., Any]:
    count = TOOLKIT_FUNCTIONS.get(name, taken)
    if taken == count + 1:
        return function
    return lambda *arguments: function(*arguments[:count])
