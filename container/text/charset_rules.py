"""Which of Python's encodings are charsets, in which text may arrive.

Others turn bytes into bytes (base64), escape characters (utf-7, unicode_escape), or are for the
names of hosts (idna, punycode), and some of them take the square of a body's length.

Rules of this file: standard library only.
"""

import codecs
import encodings
import functools
import pkgutil
from encodings.aliases import aliases
from typing import Final

_PROBE: Final = "".join(map(chr, range(32, 127))) + r"\u0041 +AGE- ~{ =41"
"""All printable characters of ASCII, and what some encodings take for an escape."""
_MARKS: Final = (codecs.BOM_UTF8, codecs.BOM_UTF32, codecs.BOM_UTF16)


@functools.lru_cache
def is_charset(name: str) -> bool:
    """Return whether each character of ASCII is one unit of 1, 2 or 4 bytes in an encoding."""
    known = encodings.normalize_encoding(name).lower()
    if known not in _list_modules() and known not in aliases:  # Python keeps unknown names for ever
        return False
    try:
        encoded = _PROBE.encode(known)
        decoded = encoded.decode(known)
    except (LookupError, ValueError):
        return False
    mark = next(filter(encoded.startswith, _MARKS), b"")
    units = len(encoded) - len(mark)
    return decoded == _PROBE and units in (len(_PROBE), 2 * len(_PROBE), 4 * len(_PROBE))


@functools.cache
def _list_modules() -> frozenset[str]:
    return frozenset(module.name for module in pkgutil.iter_modules(encodings.__path__))
