"""Unpacks what is compressed, within bounds: a small object may expand to fill memory and disk."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from typing import Any, Final, NoReturn

# An object of zeros shrinks to a thousandth; no weights or records do.
EXPANSION_MAXIMUM: Final = 100
SMALL_BYTES: Final = 64 << 20
MEMBERS_MAXIMUM: Final = 100_000
_HEADER_BYTES_MAXIMUM: Final = 65_536
_PIECE_BYTES: Final = 1 << 20
_HEADERS: Final = frozenset(
    [
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
    ]
)


class Member(tarfile.TarInfo):
    """A member of a tar archive whose headers take a bounded amount of memory."""

    def _proc_member(self, tar: tarfile.TarFile) -> Any:  # what tarfile lets subclasses override
        if self.type in _HEADERS and self.size > _HEADER_BYTES_MAXIMUM:
            message = f"a name or attribute of {self.size} bytes"
            raise tarfile.ReadError(message)
        if self.type == tarfile.GNUTYPE_SPARSE:
            _refuse_sparse()
        return super()._proc_member(tar)  # type: ignore[misc]  # not in typeshed

    def _proc_gnusparse_00(self, *_: Any) -> NoReturn:
        _refuse_sparse()

    def _proc_gnusparse_01(self, *_: Any) -> NoReturn:
        _refuse_sparse()

    def _proc_gnusparse_10(self, *_: Any) -> NoReturn:
        _refuse_sparse()


def _refuse_sparse() -> NoReturn:
    message = "a sparse file, which tar writes only with --sparse"
    raise tarfile.ReadError(message)


def list_members(tar: tarfile.TarFile, archive_bytes: int) -> list[tarfile.TarInfo]:
    """List the members of an archive that was opened with `tarinfo=Member`.

    Raises: tarfile.TarError if it has too many members, or they expand too far.
    """
    members = []
    room = _count_room(archive_bytes)
    for member in tar:
        members.append(member)
        room -= member.size
        if len(members) > MEMBERS_MAXIMUM or room < 0:
            message = (
                f"it has more than {MEMBERS_MAXIMUM} members, or expands to more than "
                f"{EXPANSION_MAXIMUM} times its bytes"
            )
            raise tarfile.ReadError(message)
    return members


def decompress_gzip(body: bytes) -> bytes:
    """Undo gzip, of any number of members.

    Raises: ValueError if the body is not complete gzip, or expands too far.
    """
    room = _count_room(len(body))
    decoded = io.BytesIO()
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as stream:
            while piece := stream.read(_PIECE_BYTES):
                decoded.write(piece)
                if decoded.tell() > room:
                    message = f"it expands to more than {EXPANSION_MAXIMUM} times its bytes"
                    raise ValueError(message)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(str(error)) from error
    return decoded.getvalue()


def _count_room(byte_count: int) -> int:
    return SMALL_BYTES + EXPANSION_MAXIMUM * byte_count
