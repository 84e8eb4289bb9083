"""Reads the text of a list of packages: bounded, and in the encoding that its mark names.

Rules of this file: standard library only.
"""

import codecs
import os
from pathlib import Path
from typing import Final

from container.errors import UserError

_BYTES_MAXIMUM: Final = 64 << 20
# The longer marks of 32 bits begin with those of 16 bits, and so come first.
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def is_there(path: Path) -> bool:
    """Return whether a file is there.

    Raises: UserError if something else has its name, since that would be passed over.
    """
    if path.is_file():
        return True
    if not os.path.lexists(path):
        return False
    found = "something else"
    if path.is_dir():
        found = "a directory"
    elif path.is_symlink():
        found = "a link to nothing"
    raise UserError(f"{path} is {found}; a file is expected")


def read_text(path: Path, errors: str = "strict") -> str:
    """Read text in UTF-8, or in the encoding that its byte order mark names.

    Raises: OSError, UnicodeError, ValueError if the file is longer than any list.
    """
    with path.open("rb") as file:
        content = file.read(_BYTES_MAXIMUM + 1)
    if len(content) > _BYTES_MAXIMUM:
        raise ValueError(f"it is longer than {_BYTES_MAXIMUM >> 20} MiB")
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding)
    return content.decode(errors=errors)
