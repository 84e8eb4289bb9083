"""Archives of others, unpacked the same on every Python."""

import io
import tarfile
from pathlib import Path

import pytest

from container.user_packages import archive


def pack(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as packed:
        for member in members:
            member.size = 3 if member.isfile() else 0
            packed.addfile(member, io.BytesIO(b"abc") if member.isfile() else None)
    return path


def make_member(name: str, kind: bytes = tarfile.REGTYPE, mode: int = 0o644) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.linkname = kind, mode, "/etc/passwd"
    return member


@pytest.mark.parametrize("has_filter", [True, False])
def test_unpacked_files_lose_owner_and_set_user_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, has_filter: bool
) -> None:
    member = make_member("code/run.sh", mode=0o4775)
    member.uid = 12345
    source = pack(tmp_path / "a.tar.gz", make_member("code", tarfile.DIRTYPE, 0o2777), member)
    if not has_filter:  # as on the first releases of Python 3.11
        monkeypatch.delattr(tarfile, "data_filter", raising=False)
        monkeypatch.setattr(
            tarfile.TarFile,
            "extraction_filter",
            staticmethod(lambda member, _: member),
            raising=False,
        )

    with tarfile.open(source) as packed:
        archive.unpack(packed, packed.getmembers(), tmp_path / "out")

    found = (tmp_path / "out/code/run.sh").stat()
    assert (found.st_mode & 0o7777, found.st_uid == 12345) == (0o755, False)
    assert (tmp_path / "out/code/run.sh").read_bytes() == b"abc"


@pytest.mark.parametrize(
    "member",
    [
        make_member("../out-of-it"),
        make_member("a/../../out-of-it"),
        make_member("/etc/out-of-it"),
        make_member("link", tarfile.SYMTYPE),
        make_member("hard", tarfile.LNKTYPE),
        make_member("pipe", tarfile.FIFOTYPE),
        make_member("disk", tarfile.BLKTYPE),
    ],
    ids=lambda member: member.name,
)
def test_harmful_member_is_refused_before_anything_is_unpacked(
    tmp_path: Path, member: tarfile.TarInfo
) -> None:
    source = pack(tmp_path / "a.tar.gz", make_member("first"), member)

    with tarfile.open(source) as packed, pytest.raises(ValueError, match="inside the archive"):
        archive.unpack(packed, packed.getmembers(), tmp_path / "out")

    assert not (tmp_path / "out").exists()
