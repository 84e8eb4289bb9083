"""What a model takes: arrays by name, type and shape.

Every fault is a RequestError 400 that names the input, what was found and what is expected. Numbers
are never rounded, cut or guessed.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from container.errors import RequestError
from container.serving.third_party.names import check_names

Arrays: TypeAlias = NDArray[Any] | Mapping[str, NDArray[Any]]
"""A batch: one array, or one for each name."""
Shape: TypeAlias = tuple[int | None, ...]
"""None is a side of any length."""
TEXT: Final = np.dtype(object)
"""The type of an input that takes strings or bytes."""


def make_shape(sides: Iterable[Any]) -> Shape:
    """Return a shape in which a side that is negative or a symbol may have any length."""
    return tuple(side if isinstance(side, int) and side >= 0 else None for side in sides)


class Signature(Protocol):
    """What decoders of bodies ask about a model."""

    column_names: tuple[str, ...]
    """The columns of a CSV body, if they have names."""
    takes_missing: bool
    """Whether a cell of a CSV body may be empty."""

    def is_text(self, column: int) -> bool:
        """Return whether a column of a CSV body is text, even where its cells look like numbers."""


class Model(Protocol):
    """A loaded model."""

    @property
    def signature(self) -> Signature:
        """What it takes."""

    def predict(self, data: Any) -> Any:
        """Predict a batch; thread-safe.

        Several outputs are a dictionary, a single one is an array.

        Raises: RequestError 400 if an input is missing or does not fit.
        """


@dataclass(frozen=True)
class Tensor:
    """One input of a model."""

    name: str
    dtype: np.dtype[Any] | None
    """`TEXT` for strings; None takes an array as it comes."""
    shape: Shape | None
    """The shape with the batch in front, or None if the model does not say."""

    @property
    def instance_shape(self) -> Shape | None:
        """The shape without the batch."""
        if self.shape is None:
            return None
        return self.shape[1:]

    @property
    def batch_size(self) -> int | None:
        """The number of instances, if it is fixed."""
        return self.shape[0] if self.shape else None

    def fit(self, given: Any) -> NDArray[Any]:
        """Return the batch in the type and shape of the input. Raises: RequestError 400."""
        array = to_array(given)
        return cast(self._reshape(array), self.dtype, f"the input {self.name!r}")

    def _reshape(self, array: NDArray[Any]) -> NDArray[Any]:
        if self.shape is None:
            if array.size == 0:
                raise RequestError(400, f"the input {self.name!r} holds no instance")
            return array
        if self.shape == ():
            fitting = _reshape_scalar(array)
        else:
            fitting = _reshape_batch(array, self.shape[1:])
        if fitting is None:
            expected = ["n", *(side or "any" for side in self.shape[1:])]
            message = f"the input {self.name!r} has the shape {list(array.shape)}"
            raise RequestError(400, f"{message}; {expected[: len(self.shape)]} is expected")
        return fitting


def _reshape_scalar(array: NDArray[Any]) -> NDArray[Any] | None:
    if array.size != 1:
        return None
    return array.reshape(())


def _reshape_batch(array: NDArray[Any], instance: Shape) -> NDArray[Any] | None:
    """Return a batch of instances, or None if the array cannot be one without a guess.

    An instance may come flat, as a row of CSV, and without its sides of length 1; a single one may
    come without the batch.
    """
    if array.size == 0:
        return None
    rest = array.shape[1:]
    if array.ndim == len(instance) + 1:
        pairs = zip(instance, rest, strict=True)
        if all(side in (None, found) for side, found in pairs):
            return array
    sides = [side for side in instance if side is not None]
    if len(sides) < len(instance):
        return None
    if array.shape == instance:
        return array[np.newaxis]
    is_flat = rest == (math.prod(sides),)
    if array.ndim and (is_flat or _drop_ones(rest) == _drop_ones(sides)):
        return array.reshape(len(array), *sides)
    return None


def _drop_ones(shape: Sequence[int]) -> list[int]:
    return [side for side in shape if side != 1]


class Tensors:
    """The inputs of a model."""

    def __init__(self, tensors: Sequence[Tensor], *, takes_missing: bool = False) -> None:
        self.tensors = tuple(tensors)
        self.takes_missing = takes_missing
        self.column_names: tuple[str, ...] = ()
        if all(_is_scalar(tensor) for tensor in self.tensors):
            self.column_names = tuple(tensor.name for tensor in self.tensors)

    def is_text(self, column: int) -> bool:
        """Return whether a column of a CSV body is text."""
        if len(self.tensors) > 1:
            return column < len(self.tensors) and self.tensors[column].dtype == TEXT
        return self.tensors[0].dtype == TEXT

    def bind(self, data: Any) -> dict[str, NDArray[Any]]:
        """Return the batch of each input. Raises: RequestError 400."""
        if isinstance(data, Mapping):
            check_names(data, [tensor.name for tensor in self.tensors], "input")
            return {tensor.name: tensor.fit(data[tensor.name]) for tensor in self.tensors}
        if len(self.tensors) > 1:
            names = ", ".join(tensor.name for tensor in self.tensors)
            form = '{"instances": [{"NAME": ...}, ...]}'
            message = f"the model has {len(self.tensors)} inputs; send {form} with {names}"
            raise RequestError(400, message)
        [tensor] = self.tensors
        return {tensor.name: tensor.fit(data)}

    def run(
        self, data: Any, run: Callable[[dict[str, NDArray[Any]]], dict[str, NDArray[Any]]]
    ) -> Any:
        """Bind the data and run the model, in several batches if its batch has a fixed size.

        Raises: RequestError 400.
        """
        feed = self.bind(data)
        size = self._find_batch_size()
        counts = {array.shape[0] for array in feed.values() if array.ndim}
        if size is None or counts == {size}:
            self._check_fixed(feed)
            return unwrap(run(feed))
        if len(counts) > 1:
            given = {name: len(array) for name, array in feed.items()}
            raise RequestError(400, f"inputs must have equally many instances; given: {given}")
        return unwrap(_run_pieces(feed, run, size, counts.pop()))

    def _find_batch_size(self) -> int | None:
        """Return the only size of a batch that the model takes; None if it is free or unclear."""
        sizes = {tensor.batch_size for tensor in self.tensors}
        if len(sizes) > 1:
            return None
        return sizes.pop()

    def _check_fixed(self, feed: Mapping[str, NDArray[Any]]) -> None:
        for tensor in self.tensors:
            expected = tensor.batch_size
            found = feed[tensor.name].shape
            if expected is not None and found[0] != expected:
                message = f"the input {tensor.name!r} has the shape {list(found)}"
                raise RequestError(400, f"{message}; its first dimension must be {expected}")


def _run_pieces(
    feed: Mapping[str, NDArray[Any]],
    run: Callable[[dict[str, NDArray[Any]]], dict[str, NDArray[Any]]],
    size: int,
    count: int,
) -> dict[str, NDArray[Any]]:
    """Run `count` instances in batches of `size`, the last one filled up."""
    pieces = []
    for start in range(0, count, size):
        piece = {name: array[start : start + size] for name, array in feed.items()}
        pieces.append(run({name: _fill(array, size) for name, array in piece.items()}))
    return {name: np.concatenate([piece[name] for piece in pieces])[:count] for name in pieces[0]}


def _is_scalar(tensor: Tensor) -> bool:
    instance = tensor.instance_shape
    return instance is not None and all(side == 1 for side in instance)


def _fill(array: NDArray[Any], count: int) -> NDArray[Any]:
    """Repeat the last instance until there are `count`."""
    if len(array) == count:
        return array
    return np.concatenate([array, np.repeat(array[-1:], count - len(array), axis=0)])


def to_array(value: Any) -> NDArray[Any]:
    """Return an array of numbers, or of objects where something is not a number.

    Raises: RequestError 400 if the nesting is ragged.
    """
    if isinstance(value, np.ndarray) and value.dtype.kind not in "US":
        return value
    try:
        array = np.array(value)
        if array.dtype.kind in "US":  # numpy would make text of numbers, and cut zero bytes
            array = np.array(value, dtype=object)
    except (ValueError, TypeError, OverflowError) as error:
        raise RequestError(400, f"the instances must have one shape: {error}") from error
    return array


def cast(array: NDArray[Any], dtype: np.dtype[Any] | None, what: str) -> NDArray[Any]:
    """Cast to a type; what does not fit it is refused.

    Raises: RequestError 400 that begins with `what`.
    """
    if dtype is None or (array.dtype == dtype and dtype != TEXT):
        return np.asarray(array, order="C")
    if dtype == TEXT:
        _refuse_other(array, (str, bytes), what, "text")
        return array
    if array.dtype == TEXT:
        _refuse_other(array, (int, float, bool), what, f"a number ({dtype.name})")
    try:
        with np.errstate(invalid="ignore", over="ignore"):
            converted = array.astype(dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise RequestError(400, f"{what} must be {dtype.name}: {error}") from error
    fault = _find_loss(array, converted)
    if fault:
        raise RequestError(400, f"{what} must be {dtype.name}; {fault}")
    return np.asarray(converted, order="C")


def _find_loss(array: NDArray[Any], converted: NDArray[Any]) -> str:
    """Say what a conversion has lost; empty if nothing."""
    if converted.dtype.kind in "iub":
        if np.array_equal(converted, array):
            return ""
        if array.dtype.kind == "f" and np.isnan(array).any():
            return "a value is missing (NaN)"
        return f"{array.dtype} does not fit it"
    infinite = np.isinf(converted)
    if infinite.any() and not np.isinf(array[infinite].astype(np.float64)).all():
        return "a number is too large for it"
    return ""


def _refuse_other(array: NDArray[Any], types: tuple[type, ...], what: str, expected: str) -> None:
    if array.dtype != TEXT:
        raise RequestError(400, f"{what} must be {expected}; numbers ({array.dtype}) were found")
    for value in array.flat:
        if not isinstance(value, types):
            raise RequestError(400, f"{what} must be {expected}; {shorten(value)} was found")


def shorten(value: Any) -> str:
    """Return a value of a body as an error message quotes it."""
    return "null" if value is None else repr(value)[:80]


def unwrap(outputs: Mapping[str, NDArray[Any]]) -> Any:
    """Return a single output without its name."""
    if len(outputs) > 1:
        return outputs
    return next(iter(outputs.values()))
