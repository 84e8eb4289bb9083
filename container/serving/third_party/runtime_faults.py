"""What a runtime raises because a request does not fit the model: the client's fault (RQ-8)."""

import contextlib
import re
from collections.abc import Iterator
from typing import Any, Final

from container.errors import RequestError

# ONNX Runtime has exceptions of its own, and so does TensorFlow. LiteRT and OpenVINO raise a
# RuntimeError for everything, so its text decides; so does that of PyTorch's IndexError.
_NAMES: Final = frozenset({"InvalidArgument", "InvalidArgumentError"})
_ABOUT_INPUT: Final = re.compile(
    r"(?i)shape|dimension|broadcast|\brank\b|mismatch|to prepare|"
    r"index out of (range in self|bounds)"
)
_REASON_CHARACTERS: Final = 400


@contextlib.contextmanager
def as_client_faults(model: Any) -> Iterator[None]:
    """Turn an error that the input caused into one that names what the model takes.

    Raises: RequestError 400; any other error as it is.
    """
    try:
        yield
    except RequestError:
        raise
    except Exception as error:
        if not _is_about_input(error):
            raise
        reason = " ".join(str(error).split())[:_REASON_CHARACTERS]
        message = f"the model cannot take this input: {reason}"
        expected = "; ".join(_describe_inputs(model))
        if expected:
            message += f"; it takes {expected}"
        raise RequestError(400, message) from error


def _is_about_input(error: Exception) -> bool:
    if type(error).__name__ in _NAMES or isinstance(error, (ValueError, TypeError)):
        return True
    of_onnx = type(error).__module__.startswith("onnxruntime")
    is_general = of_onnx or isinstance(error, (RuntimeError, IndexError))
    return is_general and bool(_ABOUT_INPUT.search(str(error)))


def _describe_inputs(model: Any) -> Iterator[str]:
    """Yield name, shape and type of each input, as far as the model says."""
    signature = getattr(model, "signature", None)
    for tensor in getattr(signature, "tensors", ()):
        yield f"{tensor.name!r} {list(tensor.shape or ())} {tensor.dtype}"
