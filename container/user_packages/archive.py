"""Unpacks untrusted archives: only files and directories, only inside the target (SEC-3, OUT-6).

An archive of a few kilobytes may hold millions of members, names of gigabytes, or zeros that fill
any disk: each is found before it is unpacked (SEC-6).

`local_test` reads archives by the same rules, so this needs the standard library only.

The first releases of Python 3.11, which distributions still ship, lack `tarfile`'s own filter; the
same checks are made here for every version.
"""

import contextlib
import gzip
import lzma
import os
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final, NoReturn

MEMBERS_MAXIMUM: Final = 100_000
# Weights shrink to half or a tenth; only zeros shrink to a thousandth.
EXPANSION_MAXIMUM: Final = 100
SMALL_BYTES: Final = 64 << 20
_HEADER_BYTES_MAXIMUM: Final = 65_536
_ATTRIBUTE_BYTES_MAXIMUM: Final = 32 << 20
"""Of all members: long names are kept, and each attribute is parsed by Python."""
_HEADERS: Final = frozenset(
    [
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
    ]
)
_DAMAGES: Final = (RecursionError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)
_OTHER_FILES: Final = {
    b"PK\x03\x04": "a zip archive",
    b"\xfd7zXZ": "compressed by xz",
    b"BZh": "compressed by bzip2",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"version https://git-lfs": "a pointer of Git LFS, to be replaced by `git lfs pull`",
    b"<": "a page of HTML or XML, such as the answer of a failed download",
}


class Member(tarfile.TarInfo):
    """A member whose headers take a bounded amount of memory."""

    def _proc_member(self, packed: tarfile.TarFile) -> Any:  # what tarfile lets subclasses override
        if self.type in _HEADERS and self.size > _HEADER_BYTES_MAXIMUM:
            raise tarfile.ReadError(f"a name or attribute of {self.size} bytes")
        if self.type == tarfile.GNUTYPE_SPARSE:
            _refuse_sparse()
        return super()._proc_member(packed)  # type: ignore[misc]  # not in typeshed

    def _proc_gnusparse_00(self, *_: Any) -> NoReturn:
        _refuse_sparse()

    def _proc_gnusparse_01(self, *_: Any) -> NoReturn:
        _refuse_sparse()

    def _proc_gnusparse_10(self, *_: Any) -> NoReturn:
        _refuse_sparse()


def _refuse_sparse() -> NoReturn:
    raise tarfile.ReadError("a sparse file, which tar writes only with --sparse")


def list_members(packed: tarfile.TarFile, archive_bytes: int) -> list[tarfile.TarInfo]:
    """List the members of an archive that was opened with `tarinfo=Member`.

    Raises: tarfile.TarError if it has too many members, they expand too far, or it is damaged.
    """
    members = []
    room = count_room(archive_bytes)
    attributes = _ATTRIBUTE_BYTES_MAXIMUM
    try:
        for member in packed:
            members.append(member)
            room -= member.size
            attributes -= member.offset_data - member.offset - tarfile.BLOCKSIZE
            if len(members) > MEMBERS_MAXIMUM:
                raise tarfile.ReadError(f"more than {MEMBERS_MAXIMUM} members")
            if attributes < 0:
                message = f"names and attributes of more than {_ATTRIBUTE_BYTES_MAXIMUM} bytes"
                raise tarfile.ReadError(message)
            if room < 0:
                _refuse_expansion()
        _read_rest(packed.fileobj, room)
    except _DAMAGES as error:
        raise tarfile.ReadError(f"damaged: {error}") from error
    return members


def _read_rest(stream: Any, room: int) -> None:
    """Read what follows the last member, up to the checksum that shows whether it is complete.

    Raises: tarfile.ReadError if it is not padding, as of two archives that `cat` has joined.
    """
    while piece := stream.read(1 << 20):
        room -= len(piece)
        if room < 0:
            _refuse_expansion()
        if piece.strip(b"\0"):
            raise tarfile.ReadError("there is data after its end, which would be left out")


def _refuse_expansion() -> NoReturn:
    raise tarfile.ReadError(f"it expands to more than {EXPANSION_MAXIMUM} times its bytes")


def explain(path: Path) -> str:
    """Say in brackets what a file is that is not a tar.gz archive; "" if that is unknown."""
    with path.open("rb") as file:
        head = file.read(4096)
    names = [name for first, name in _OTHER_FILES.items() if head.startswith(first)]
    if head[257:262] == b"ustar":
        names = ["a tar archive that is not compressed"]
    with contextlib.suppress(zlib.error):
        inner = zlib.decompressobj(wbits=31).decompress(head, 512)
        if inner and inner[257:262] != b"ustar":
            names = ["compressed, but holds no tar archive"]
    return f" (it is {names[0]}; expected is what `tar czf` writes)" if names else ""


def count_room(packed_bytes: int) -> int:
    """Return the most bytes that so many compressed ones may expand to."""
    return SMALL_BYTES + EXPANSION_MAXIMUM * packed_bytes


def is_harmless(member: tarfile.TarInfo) -> bool:
    """Return whether a member is a file or directory whose path stays inside the target."""
    path = PurePosixPath(member.name)
    return (member.isfile() or member.isdir()) and not path.is_absolute() and ".." not in path.parts


def unpack(archive: tarfile.TarFile, members: Sequence[tarfile.TarInfo], target: Path) -> None:
    """Unpack members as files of this process's user, without set-user-ID bits.

    Raises: ValueError for a member that is not harmless; tarfile.TarError, EOFError or OSError.
    """
    harmful = [member.name for member in members if not is_harmless(member)]
    if harmful:
        message = f"not a file or directory inside the archive: {', '.join(map(repr, harmful[:5]))}"
        raise ValueError(message)
    for member in members:
        member.uid, member.gid, member.uname, member.gname = os.getuid(), os.getgid(), "", ""
        member.mode = member.mode & 0o755 | (0o700 if member.isdir() else 0o600)
    options: dict[str, Any] = {}
    if hasattr(tarfile, "data_filter"):  # later Pythons warn without a filter
        options["filter"] = "data"
    archive.extractall(target, members=members, **options)  # noqa: S202 - checked above
