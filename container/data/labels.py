"""Labels as the files write them, and the classes that they become."""

import contextlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from container.data.formats.parts import Label, Labels

_EXACT_MAXIMUM: Final = 1 << 53  # from it on, a float may be another integer
_PLAIN: Final = re.compile(r"\+?0|[+-]?[1-9][0-9]*")
_DIGITS: Final = re.compile(r"[+-]?\d+")


def clean(label: str) -> str:
    """Compose characters (NFC), and drop spaces and byte order marks around a label.

    A mark is inside a file if `cat` joined two files that begin with one.
    """
    return unicodedata.normalize("NFC", label).strip().strip("\ufeff").strip()


class Names:
    """The classes of a set, to find those of the labels of another set."""

    def __init__(self, classes: Iterable[Label], note: Callable[[str], object] = len) -> None:
        """Take the classes in their order; `note` takes a line about labels written differently."""
        labels = list(classes)
        self._note = note
        self.texts = [str(label) for label in labels]
        self._positions = {text: index for index, text in enumerate(self.texts)}
        self._are_numbers = all(isinstance(label, int) for label in labels)
        self._written: dict[int, str] = {}
        self._is_noted = False

    def find(self, label: Label) -> int:
        """Return the index of the class of a label; -1 if it has none.

        `7.0` and `07` are class `7` if all classes are numbers. If they are text, each spelling is
        a class of its own.
        """
        text = str(label)
        if text not in self._positions:
            text = clean(text)
        if text not in self._positions and self._are_numbers:
            with contextlib.suppress(ValueError):
                text = str(_to_integer(text))
        return self._positions.get(text, -1)

    def find_all(self, labels: Iterable[Label]) -> list[int]:
        """Return the index of the class of each label; -1 for those that have none.

        Raises: ValueError if two labels are one class, of this call or earlier ones, which would
        be two in a training set: `7` and `007`.
        """
        indices = []
        for label in labels:
            index = self.find(label)
            indices.append(index)
            written = clean(str(label)).lstrip("+")
            if index >= 0 and written != self.texts[index] and not self._is_noted:
                self._note(f"the label {written!r} is taken as class {self.texts[index]}")
                self._is_noted = True
            if index < 0 or not written.lstrip("-").isdecimal():
                continue
            same = self._written.setdefault(index, written)
            if same != written:
                raise ValueError(
                    f"{same!r} and {written!r} would both be class {self.texts[index]}, but are "
                    "two classes where both are in a training set; write them in the same way"
                )
        return indices


def find_respelling(parts: Sequence[Labels], classes: Iterable[Label]) -> str:
    """Return a label that its class writes in another way, such as `7.0` of class 7; or ""."""
    texts = set(map(str, classes))
    found = {label for part in parts if not isinstance(part, np.ndarray) for label in part}
    return min(found - texts, default="")


def settle(spellings: Iterable[Label]) -> tuple[Label, ...]:
    """Return the sorted classes of labels that several hosts found, as `join` would."""
    distinct = set(spellings)
    numbers = np.array([label for label in distinct if isinstance(label, int)], np.int64)
    texts = [label for label in distinct if isinstance(label, str)]
    return tuple(np.unique(join([numbers, texts])).tolist())


def join(parts: list[Labels], *, keeps_spelling: bool = False) -> npt.NDArray[Any]:
    """Join the labels of all parts: integers if all of them are (`7`, `7.0`), otherwise text.

    They are text, too, if one is written with leading zeros: `007` is a name. With
    `keeps_spelling`, text stays text in any case.
    """
    texts = {label for part in parts if not isinstance(part, np.ndarray) for label in part}
    if (texts and keeps_spelling) or any(map(_is_padded, texts)):
        return _to_text(parts)
    try:
        arrays = [part if isinstance(part, np.ndarray) else _to_integers(part) for part in parts]
        return np.concatenate(arrays)
    except ValueError:
        return _to_text(parts)


def _to_text(parts: Sequence[Labels]) -> npt.NDArray[Any]:
    return np.array([str(label) for part in parts for label in part])


def _is_padded(label: str) -> bool:
    """Return whether a label is a whole number that `str` would write differently, such as 007."""
    return bool(_DIGITS.fullmatch(label) and not _PLAIN.fullmatch(label))


def _to_integers(labels: list[str]) -> npt.NDArray[np.int64]:
    integers = {label: _to_integer(label) for label in set(labels)}
    return np.array([integers[label] for label in labels], np.int64)


def _to_integer(label: str) -> int:
    """Return the integer that a label is, written as `7` or `7.0`.

    Raises: ValueError if it is not one, or 64 bits cannot hold it.
    """
    if "_" in label:
        raise ValueError(label)
    try:
        value = int(label)
    except ValueError:
        number = float(label)
        if not number.is_integer() or abs(number) >= _EXACT_MAXIMUM:
            raise
        value = int(number)
    if not -(1 << 63) <= value < 1 << 63:
        raise ValueError(label)
    return value
