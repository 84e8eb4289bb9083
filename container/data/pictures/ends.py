"""Where a picture ends, to find another one that follows it, as if joined by `cat`.

Rules of this file: nothing is decoded; the end of a picture whose parts cannot be followed is
unknown, and its decoder finds the damage.
"""

import functools
import re
import struct
from typing import Final

_STARTS: Final = (
    rb"[\0\s]*+(?:\x89PNG\r\n|(?P<jpeg>\xff\xd8\xff)|RIFF....WEBP|GIF8[79]a|II[*+]\0|MM\0[*+]"
    rb"|BM....\0\0\0\0)"
)
_NEXT: Final = re.compile(_STARTS, re.DOTALL)
_EXIF: Final = b"Exif\0"
_SECOND_VIEW: Final = b"MPF\0"
_PARTS_MAXIMUM: Final = 100_000
"""Parts of a picture that are followed, so that a hostile one does not take seconds."""

_GIF_IMAGE: Final = 0x2C
_GIF_EXTENSION: Final = 0x21
_GIF_END: Final = 0x3B

_TIFF_SIZES: Final = {
    **dict.fromkeys((1, 2, 6, 7), 1),
    **dict.fromkeys((3, 8), 2),
    **dict.fromkeys((4, 9, 11, 13), 4),
    **dict.fromkeys((5, 10, 12, 16, 17, 18), 8),
}
"""Bytes of a value, by the number of its type."""
_TIFF_NUMBERS: Final = {3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_TIFF_DIRECTORIES: Final = (330, 34665, 34853)
"""Tags that point to directories: further images, Exif and GPS."""
_TIFF_DATA: Final = {273: 279, 324: 325, 513: 514}
"""Tags of the places of strips, tiles and a JPEG, and of their lengths."""
_TIFF_TAGS: Final = {*_TIFF_DIRECTORIES, *_TIFF_DATA, *_TIFF_DATA.values()}


def has_successor(content: bytes) -> bool:
    """Return whether another picture follows the end of a picture.

    What cameras append to a JPEG, a preview or a second view, is part of it.
    """
    if content.startswith(b"\xff\xd8\xff"):
        return _follows_jpeg(content)
    try:
        end = _find_end(content)
    except (LookupError, ValueError, struct.error):
        return False
    return bool(end and _NEXT.match(content, end))


def _find_end(content: bytes) -> int:
    """Return where a picture other than a JPEG ends; 0 if that is unknown.

    Raises: LookupError, ValueError or struct.error if it is cut off or damaged.
    """
    if content.startswith(b"\x89PNG"):
        return content.index(b"IEND\xaeB`\x82") + 8
    if content.startswith(b"BM"):
        size = int.from_bytes(content[2:6], "little")
        return size if size > 2 else 0
    if content.startswith(b"RIFF"):
        size = int.from_bytes(content[4:8], "little")
        return 8 + size + size % 2
    if content.startswith(b"GIF8"):
        return _find_gif_end(content)
    if content.startswith((b"II", b"MM")):
        return _Tiff(content).find_end()
    return 0


def _follows_jpeg(content: bytes) -> bool:
    end = content.find(b"\xff\xd9") + 2
    if end in (1, len(content)):  # of nearly all pictures
        return False
    found = _after_jpeg().search(content)
    if not found or _SECOND_VIEW in content[: found.start()]:
        return False
    is_preview = found["jpeg"] and _EXIF not in content[found.end() :]
    return not (is_preview and _EXIF in content[: found.start()])


@functools.cache
def _after_jpeg() -> re.Pattern[bytes]:
    return re.compile(rb"\xff\xd9" + _STARTS, re.DOTALL)


def _find_gif_end(content: bytes) -> int:
    start = 13 + _count_color_bytes(content[10])
    parts = 0
    while content[start] in (_GIF_IMAGE, _GIF_EXTENSION):
        if content[start] == _GIF_IMAGE:
            start += 11 + _count_color_bytes(content[start + 9])
        else:
            start += 2
        while size := content[start]:  # a chain of blocks
            start += size + 1
            parts += 1
            if parts > _PARTS_MAXIMUM:
                return 0
        start += 1
    return start + 1 if content[start] == _GIF_END else 0


def _count_color_bytes(flags: int) -> int:
    """Return the bytes of the color table that a header's flags announce."""
    return 3 << (flags % 8 + 1) if flags & 0x80 else 0


class _Tiff:
    """The directories of a TIFF, which say where everything else is."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._order = "<" if content.startswith(b"II") else ">"
        self._is_big = 43 in content[2:4]
        self._word = "Q" if self._is_big else "I"
        self._parts = 0

    def find_end(self) -> int:
        """Return the end of the last part; 0 if there are too many."""
        [first] = self._read(self._word, 8 if self._is_big else 4)
        waiting, seen, end = [first], {0}, 0
        while waiting:
            start = waiting.pop()
            if start in seen:
                continue
            seen.add(start)
            tags, directory_end, following = self._read_directory(start)
            if self._parts > _PARTS_MAXIMUM:
                return 0
            end = max(end, directory_end)
            waiting.append(following)
            for tag in _TIFF_DIRECTORIES:
                waiting += tags.get(tag, ())
            for places, lengths in _TIFF_DATA.items():
                pairs = zip(tags.get(places, ()), tags.get(lengths, ()), strict=False)
                end = max([end, *map(sum, pairs)])
        return end

    def _read(self, code: str, start: int) -> tuple[int, ...]:
        return struct.unpack_from(self._order + code, self._content, start)

    def _read_directory(self, start: int) -> tuple[dict[int, tuple[int, ...]], int, int]:
        """Return whole numbers by tag, the end of all values, and the place of the next one."""
        code, entry_bytes, inline_bytes = ("Q", 20, 8) if self._is_big else ("H", 12, 4)
        [count] = self._read(code, start)
        start += struct.calcsize(f"<{code}")
        self._parts += count
        if self._parts > _PARTS_MAXIMUM:
            return {}, 0, 0
        tags, stop = {}, start + count * entry_bytes
        end = stop + inline_bytes
        for at in range(start, stop, entry_bytes):
            tag, kind, number = self._read(f"HH{self._word}", at)
            place, size = at + entry_bytes - inline_bytes, _TIFF_SIZES.get(kind, 0) * number
            if size > inline_bytes:
                [place] = self._read(self._word, place)
                end = max(end, place + size)
            if kind in _TIFF_NUMBERS and tag in _TIFF_TAGS:
                tags[tag] = self._read(f"{number}{_TIFF_NUMBERS[kind]}", place)
        return tags, end, self._read(self._word, stop)[0]
