"""Archives of others, unpacked the same on every Python."""

import gzip
import io
import lzma
import os
import re
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from container.developer.doctor import model as doctor_model
from container.developer.doctor.finding import Finding
from container.errors import UserError
from container.user_packages import archive
from local_test.data import models


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


def pack_hostile(kind: str, path: Path) -> Path:
    """Pack what takes far more than the archive's bytes."""
    member = tarfile.TarInfo("a")
    file_format = tarfile.PAX_FORMAT
    content = b""
    if kind == "long name":
        member.name, file_format = "a" * 200_000, tarfile.GNU_FORMAT
    elif kind == "attribute":
        member.pax_headers = {"comment": "a" * 200_000}
    elif kind == "sparse":
        member.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
        content = b"0\n".ljust(512, b"\0")
    elif kind == "zeros":
        content = bytes(2_000_000)
    with tarfile.open(path, "w:gz", format=file_format) as packed:
        member.size = len(content)
        for _ in range(11 if kind == "many" else 1):
            packed.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize("kind", ["long name", "attribute", "sparse", "zeros", "many"])
def test_archive_that_expands_is_refused_before_it_is_unpacked(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SEC-6."""
    monkeypatch.setattr(archive, "SMALL_BYTES", 1000)
    monkeypatch.setattr(archive, "MEMBERS_MAXIMUM", 10)
    path = pack_hostile(kind, tmp_path / "a.tar.gz")

    with (
        pytest.raises(tarfile.TarError, match=r"attribute|sparse|expands|members"),
        tarfile.open(path, tarinfo=archive.Member) as packed,  # which reads the first member
    ):
        archive.list_members(packed, path.stat().st_size)
    [finding] = doctor_model.examine(path)
    assert finding.text.startswith(f"{path} is not a tar.gz archive that can be unpacked: ")


def test_doctor_unpacks_only_the_beginning_of_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SEC-6: a file of ten gigabytes is examined by its name."""
    unpacked = {}

    def look(directory: Path) -> Iterator[Finding]:
        unpacked.update({path.name: path.stat().st_size for path in directory.iterdir()})
        yield from ()

    monkeypatch.setattr(doctor_model, "examine_directory", look)
    source = tmp_path / "source"
    source.mkdir()
    (source / "weights.bin").write_bytes(os.urandom(1_100_000))
    (source / "inference.py").write_bytes(b"x = 1")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as packed:
        packed.add(source, arcname=".")

    assert list(doctor_model.examine(tmp_path / "a.tar.gz")) == []
    assert unpacked == {"weights.bin": 4096, "inference.py": 5}


def test_names_and_attributes_share_a_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SEC-6: compressed, they take a hundredth of their memory and time."""
    monkeypatch.setattr(archive, "_ATTRIBUTE_BYTES_MAXIMUM", 100_000)
    plain = pack(tmp_path / "plain.tar.gz", *(make_member(f"{n}") for n in range(500)))
    named = pack(tmp_path / "named.tar.gz", *(make_member("a" * 9000 + f"{n}") for n in range(20)))

    with tarfile.open(plain, tarinfo=archive.Member) as packed:
        assert len(archive.list_members(packed, plain.stat().st_size)) == 500
    with (
        tarfile.open(named, tarinfo=archive.Member) as packed,
        pytest.raises(tarfile.ReadError, match="names and attributes of more than 100000 bytes"),
    ):
        archive.list_members(packed, named.stat().st_size)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda packed: packed[:-4], "damaged: Compressed file ended before"),
        (lambda packed: packed + packed, "there is data after its end, which would be left out"),
        (gzip.decompress, "it is a tar archive that is not compressed"),
        (gzip.compress, "it is compressed, but holds no tar archive"),
        (lambda packed: lzma.compress(gzip.decompress(packed)), "it is compressed by xz"),
        (lambda _: b"PK\x03\x04" + bytes(99), "it is a zip archive; expected is what `tar czf`"),
        (lambda _: b"version https://git-lfs.github.com/spec/v1\n", "it is a pointer of Git LFS"),
    ],
)
def test_what_is_not_one_complete_archive_is_named(
    change: Callable[[bytes], bytes], reason: str, tmp_path: Path
) -> None:
    path = pack(tmp_path / "model.tar.gz", make_member("a"))
    path.write_bytes(change(path.read_bytes()))
    [finding] = doctor_model.examine(path)
    assert reason in finding.text
    with pytest.raises(UserError, match=re.escape(reason)):
        models.deliver({"ModelDataUrl": f"file://{path}"}, tmp_path / "job/model")


def test_an_archive_of_nothing_and_padding_are_no_damage(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.tar.gz")
    path.write_bytes(path.read_bytes() + bytes(512))
    [finding] = doctor_model.examine(path)
    assert "holds no model that is served without code; found: nothing" in finding.text
