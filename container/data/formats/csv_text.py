"""The text of CSV files: charsets, blocks of complete rows, and fields in quotes (RFC 4180)."""

import codecs
import csv
import re
from collections.abc import Iterator, Sequence
from typing import BinaryIO, Final

from container.data.formats.parts import UTF_8
from container.errors import UserError

_BYTE_ORDER_MARKS: Final = (
    (codecs.BOM_UTF8, UTF_8),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins as UTF-16 does, so comes first
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SEPARATORS: Final = b",;\t"
_QUOTED: Final = re.compile(rb'"[^"]*"')
_END_OF_QUOTE: Final = re.compile(rb'"[ \t]+(?=[,;\t\n]|$)')
_RECORD_BYTES_MAXIMUM: Final = 1 << 16  # to look for the end of a field that began with a quote
_RECORD_LINES_MAXIMUM: Final = 10
_SAMPLE_ROWS: Final = 20


class Utf8Stream:
    """A stream of text in some charset, as UTF-8 without a byte order mark."""

    def __init__(self, stream: BinaryIO, name: str, charset: str) -> None:
        """Wrap `stream`; a byte order mark takes precedence over `charset`."""
        self._stream = stream
        self._name = name
        self._head = stream.read(len(codecs.BOM_UTF32_LE))
        marks = (item for item in _BYTE_ORDER_MARKS if self._head.startswith(item[0]))
        mark, self._charset = next(marks, (b"", charset))
        self._decoder: codecs.IncrementalDecoder | None = None
        if codecs.lookup(self._charset).name != UTF_8:
            self._decoder = codecs.getincrementaldecoder(self._charset)()
        else:
            self._head = self._head.removeprefix(mark)

    @property
    def name(self) -> str:
        """What to call it in a message."""
        return self._name

    def read(self, size: int) -> bytes:
        """Return about `size` bytes; none at the end.

        Raises: UserError if the bytes are not text in the charset.
        """
        while True:
            content = self._head + self._stream.read(size)
            self._head = b""
            if self._decoder is None:
                return content
            try:
                text = self._decoder.decode(content, final=not content)
            except UnicodeError as error:
                raise UserError(
                    f"{self._name} is not text in the charset {self._charset}: {error}; set "
                    "charset to the one that it was written in, such as utf-8, cp1252 or utf-16"
                ) from error
            if text or not content:
                return text.encode()


def split_blocks(
    stream: Utf8Stream, head: bytes, block_bytes: int, *, old_style: bool
) -> Iterator[bytes]:
    """Cut text into blocks of complete rows, each of which ends in a newline.

    With `old_style`, lines end in a carriage return only.
    """
    rest = head
    while more := stream.read(block_bytes):
        rest += more.replace(b"\r", b"\n") if old_style else more
        end = _find_end(rest)
        if end:
            yield _unify(rest[:end])
            rest = rest[end:]
    if rest:
        yield _unify(rest.removesuffix(b"\n") + b"\n")


def _find_end(text: bytes) -> int:
    """Return where the last complete row ends; a row may have line ends within quotes."""
    last = text.rfind(b"\n") + 1
    end = last
    is_open = text.count(b'"', 0, end) % 2
    while is_open:
        end = text.rfind(b"\n", 0, end - 1) + 1
        if end == 0 or last - end > _RECORD_BYTES_MAXIMUM:
            is_long = len(text) > _RECORD_BYTES_MAXIMUM
            return last if is_long else 0  # a stray quote opens nothing
        is_open = text.count(b'"', 0, end) % 2
    return end


def _unify(block: bytes) -> bytes:
    return block.replace(b"\r\n", b"\n") if b"\r" in block else block


def find_separator(line: bytes) -> bytes:
    """Return the most frequent of comma, semicolon and tab outside of quotes."""
    bare = _QUOTED.sub(b"", line)
    return max((bare.count(byte), -i, bytes([byte])) for i, byte in enumerate(_SEPARATORS))[2]


def split_fields(line: bytes, separator: bytes, *, is_strict: bool = False) -> list[str]:
    """Split one row into its fields, without quotes and surrounding white space.

    With `is_strict`, a row with text after a closing quote is one field.

    Raises: UnicodeDecodeError if it is not UTF-8.
    """
    text = line.decode()
    if '"' not in text:
        return [field.strip() for field in text.split(separator.decode())]
    rows = csv.reader([text], delimiter=separator.decode(), skipinitialspace=True, strict=is_strict)
    try:
        return [field.strip() for field in next(rows, [])]
    except csv.Error:  # such as a field of more than 131,072 characters
        return [text]


def is_quoted_well(line: bytes, separator: bytes, width: int) -> bool:
    """Return whether only white space follows each closing quote of a row of so many fields."""
    text = _END_OF_QUOTE.sub(b'"', line)
    return b'"' not in line or len(split_fields(text, separator, is_strict=True)) == width


def read_head(stream: Utf8Stream, block_bytes: int) -> bytes:
    """Read blocks until they hold a complete row. Raises: UserError if these bytes are not text."""
    head = stream.read(block_bytes)
    while not _has_row(head) and (more := stream.read(block_bytes)):
        head += more
    if b"\0" in head:
        raise UserError(
            f"{stream.name} holds zero bytes, as text in UTF-16 does; set charset to utf-16-le or "
            "utf-16-be"
        )
    return head


def _has_row(text: bytes) -> bool:
    """Return whether text holds a complete row, or more than any could be."""
    end = text.rfind(b"\n") + 1
    is_open = text.count(b'"', 0, end) % 2
    return bool(end) and (not is_open or len(text) > _RECORD_BYTES_MAXIMUM)


def sample_rows(head: bytes) -> list[bytes]:
    """Return the first rows, of which the first may have line ends within quotes."""
    lines = [line.rstrip(b"\r") for line in head.split(b"\n", _SAMPLE_ROWS)]
    if len(lines) > 1:
        del lines[-1]  # it may be incomplete
    for count in range(1, min(len(lines), _RECORD_LINES_MAXIMUM) + 1):
        record = b"\n".join(lines[:count])
        if record.count(b'"') % 2 == 0:
            return [record, *lines[count:]]
    return lines


def iterate_records(block: bytes, separator: bytes, width: int) -> Iterator[tuple[int, bytes]]:
    """Yield the index of the first line of each record that is not blank, and its text.

    Lines belong together if a field in quotes goes on and they make `width` columns: a stray quote
    does not take the rows after it along.
    """
    lines = block.split(b"\n")
    index = 0
    while index < len(lines):
        count = 1
        if lines[index].count(b'"') % 2:
            few = lines[index : index + _RECORD_LINES_MAXIMUM]
            count = _count_lines(few, separator, width)
        record = b"\n".join(lines[index : index + count])
        if record:
            yield index, record
        index += count


def _count_lines(lines: Sequence[bytes], separator: bytes, width: int) -> int:
    """Return how many lines the record at their start has."""
    for count in range(2, len(lines) + 1):
        record = b"\n".join(lines[:count])
        if record.count(b'"') % 2 == 0:
            try:
                is_record = len(split_fields(record, separator, is_strict=True)) == width
            except UnicodeDecodeError:
                is_record = False
            return count if is_record else 1
    return 1


def explain_charset(error: UnicodeDecodeError) -> str:
    """Explain that text is not UTF-8, and what to do."""
    near = error.object[max(0, error.start - 10) : error.end + 10]
    return (
        f"it is not UTF-8: {near!r}; set charset to the one that it was written in, such as "
        "latin-1, cp1252 or utf-16"
    )
