"""What an error text may say in the log: nothing of the body of the request that caused it (SEC-4).

An error of a decoder or of user code often quotes what it could not use. Such texts are compared
with the body: what occurs in it is replaced by `...`.

Rules of this file: pure; the work is bounded, whatever the body and the text.
"""

import re
import traceback
from typing import Final

TEXT_CHARACTERS: Final = 2000
TRACE_CHARACTERS: Final = 16_000
_HIDDEN: Final = "..."
_SEARCHED_CHARACTERS: Final = 1 << 28  # a few tenths of a second; the words beyond are hidden
_BODY_BYTES: Final = 1 << 24  # of a larger body every word is hidden: decoding takes memory
_QUOTED: Final = r"'(?:[^'\\]|\\.?)*+'?|\"(?:[^\"\\]|\\.?)*+\"?"
_NUMBER: Final = r"[-+]?(?:\d+\.\d*|\.\d+|\d{5,}|\d+(?=[eE][-+]?\d))(?:[eE][-+]?\d+)?"
_WORD: Final = r"[^\s'\"(){}\[\]<>,;:=]{3,}"
# Possessive, and a closing quotation mark optional: nothing is ever read twice (SEC-6).
_PIECE: Final = re.compile(f"(?P<quoted>{_QUOTED})|(?P<number>{_NUMBER})|{_WORD}", re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_ESCAPED: Final = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", "0": "\0"}
_FRAME: Final = re.compile(r"[ |+-]*File \"[^\"\n]*\", line \d+")
_HEADINGS: Final = (
    "Traceback (most recent call last):",
    "The above exception was the direct cause of the following exception:",
    "During handling of the above exception, another exception occurred:",
)


class Redaction:
    """Hides what a text has of one body."""

    def __init__(self, body: bytes) -> None:
        """Take the body of the request; an empty one hides nothing."""
        self._body = body
        self._text: str | None = None
        self._is_binary = False
        self._left = _SEARCHED_CHARACTERS

    def hide(self, text: str) -> str:
        """Return the beginning of a text without what it has of the body.

        Numbers with a fraction or of five digits or more are hidden in any case: the body may spell
        them in another way. Of a body that is binary or compressed, so is all that is quoted.
        """
        if len(text) > TEXT_CHARACTERS:
            text = f"{text[:TEXT_CHARACTERS]} [{len(text) - TEXT_CHARACTERS} characters left out]"
        if not self._body:
            return text
        if self._text is None:
            self._text = self._decode()
        return _PIECE.sub(self._replace, text)

    def _decode(self) -> str:
        body = self._body
        if len(body) > _BODY_BYTES:
            self._left = -1
            self._is_binary = True
            return ""
        self._is_binary = b"\0" in body
        if self._is_binary:
            # Text in UTF-16, and arrays of text. `replace` takes ten times as long over many zeros,
            # and a ping waits meanwhile.
            body = body.translate(None, b"\0")
        try:
            text = body.decode()
        except UnicodeDecodeError:
            self._is_binary = True
            text = body.decode("latin-1")
        if "\\" in text:
            text += _unescape(text)
        return text.lower()

    def _replace(self, found: re.Match[str]) -> str:
        piece = found[0]
        if found["quoted"] is None:
            hidden = found["number"] is not None or self._occurs(piece)
            return _HIDDEN if hidden else piece
        inside = piece.strip(piece[0])
        spellings = {inside, _unescape(inside)}
        if inside and (self._is_binary or any(map(self._has_part, spellings))):
            return f"{piece[0]}{_HIDDEN}{piece[0]}"
        return piece

    def _has_part(self, quoted: str) -> bool:
        if self._occurs(quoted):
            return True
        return any(found["number"] or self._occurs(found[0]) for found in _PIECE.finditer(quoted))

    def _occurs(self, piece: str) -> bool:
        text = self._text or ""
        self._left -= len(text)
        return self._left < 0 or piece.lower() in text


def _unescape(text: str) -> str:
    """Undo the escapes of JSON and of Python's `repr`."""

    def undo(found: re.Match[str]) -> str:
        code = found[1] or found[2]
        return chr(int(code, 16)) if code else _ESCAPED.get(found[3], found[3])

    return _ESCAPE.sub(undo, text)


class Trace(str):
    """A traceback: the only text in a log line that may have several lines."""

    __slots__ = ()


def describe(error: BaseException, redaction: Redaction | None = None) -> Trace:
    """Format an exception, its causes and where they were raised, without what they have of a body.

    Lines of code are the developer's; the texts of exceptions may be anything.
    """
    redaction = redaction or Redaction(b"")
    parts = []
    for part in traceback.TracebackException.from_exception(error).format():
        is_ours = part.strip() in _HEADINGS or _FRAME.match(part)
        parts.append(part if is_ours else redaction.hide(part.rstrip("\n")) + "\n")
    text = "".join(parts).rstrip("\n")
    left_out = len(text) - TRACE_CHARACTERS
    if left_out > 0:
        head = text[: TRACE_CHARACTERS // 4]
        tail = text[-3 * TRACE_CHARACTERS // 4 :]
        text = f"{head}\n[{left_out} characters left out]\n{tail}"
    return Trace(text)
