"""Rules of inference code: its functions, their arguments, and which of them exclude each other.

Pure: used when the code is loaded, and by `doctor`, which does not run it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from typing import Final

TOOLKIT_FUNCTIONS: Final = {
    "model_fn": 1,
    "input_fn": 2,
    "predict_fn": 2,
    "output_fn": 2,
    "transform_fn": 4,
    "pre_model_fn": 1,
    "model_warmup_fn": 2,
}
"""Functions of `sagemaker-inference`: how many arguments they take without the context."""
TFS_FUNCTIONS: Final = {"handler": 2, "input_handler": 2, "output_handler": 2}
"""Functions of the TensorFlow Serving container: the number of their arguments."""

FUNCTIONS: Final = (*TOOLKIT_FUNCTIONS, *TFS_FUNCTIONS)
_ENDING: Final = re.compile(r"_?(function|func|fun|fnc|fc)$")
_NEARNESS: Final = 0.865  # prediction_fn is near predict_fn, put_fn is not near input_fn


def find_contradictions(names: Collection[str]) -> list[str]:
    """Return a message for each set of functions that exclude each other."""
    faults = []
    names = set(names)
    parts = sorted({"input_fn", "predict_fn", "output_fn"} & names)
    if "transform_fn" in names and parts:
        faults.append(f"transform_fn replaces all three and excludes {', '.join(parts)}")
    if "handler" in names and {"input_handler", "output_handler"} & names:
        faults.append("handler replaces both and excludes input_handler and output_handler")
    toolkit = sorted(names & TOOLKIT_FUNCTIONS.keys())
    tfs = sorted(names & TFS_FUNCTIONS.keys())
    if toolkit and tfs:
        faults.append(
            f"functions of two kinds are mixed: {', '.join(toolkit)} and {', '.join(tfs)}"
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
