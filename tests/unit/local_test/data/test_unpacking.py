"""What is compressed expands within bounds, and what is damaged is an error (SEC-6)."""

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from container.errors import UserError
from container.user_packages import archive
from local_test.data import models, unpacking


def test_gzip_of_any_number_of_members_comes_back() -> None:
    body = gzip.compress(b"abc") + gzip.compress(b"") + gzip.compress(b"def") + bytes(10)

    assert unpacking.decompress_gzip(body) == b"abcdef"


@pytest.mark.parametrize(
    "body",
    [b"abc", gzip.compress(b"abc")[:-3], gzip.compress(b"abc" * 9)[:12] + b"abc" * 9, b"\x1f"],
    ids=["no gzip", "cut off", "no deflate", "one byte"],  # the time in a gzip header is no name
)
def test_damaged_gzip_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        unpacking.decompress_gzip(body)


def test_gzip_that_expands_too_far_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "SMALL_BYTES", 1000)
    body = gzip.compress(bytes(3_000_000))

    with pytest.raises(ValueError, match="expands to more than 100 times its bytes"):
        unpacking.decompress_gzip(body)


def pack(
    write: Callable[[tarfile.TarFile], object], file_format: int = tarfile.PAX_FORMAT
) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", format=file_format) as tar:
        write(tar)
    return stream.getvalue()


def make_long_name(tar: tarfile.TarFile) -> None:
    tar.addfile(tarfile.TarInfo("a" * 200_000))


def make_attribute(tar: tarfile.TarFile) -> None:
    member = tarfile.TarInfo("a")
    member.pax_headers = {"comment": "a" * 200_000}
    tar.addfile(member)


def make_sparse(tar: tarfile.TarFile) -> None:
    member = tarfile.TarInfo("a")
    member.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.size": "9"}
    member.size = 512
    tar.addfile(member, io.BytesIO(b"0\n".ljust(512, b"\0")))


def make_zeros(tar: tarfile.TarFile) -> None:
    member = tarfile.TarInfo("a")
    member.size = 2_000_000
    tar.addfile(member, io.BytesIO(bytes(member.size)))


def make_many(tar: tarfile.TarFile) -> None:
    for number in range(11):
        tar.addfile(tarfile.TarInfo(str(number)))


HOSTILE = {
    "a name or attribute of 200001 bytes": (make_long_name, tarfile.GNU_FORMAT),
    "a name or attribute of 200016 bytes": (make_attribute, tarfile.PAX_FORMAT),
    "a sparse file": (make_sparse, tarfile.PAX_FORMAT),
    "it expands to more than 100 times its bytes": (make_zeros, tarfile.PAX_FORMAT),
    "more than 10 members": (make_many, tarfile.PAX_FORMAT),
}


@pytest.mark.parametrize("reason", HOSTILE)
def test_model_archive_that_expands_is_refused_before_it_is_unpacked(
    reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "SMALL_BYTES", 1000)
    monkeypatch.setattr(archive, "MEMBERS_MAXIMUM", 10)
    (tmp_path / "stored").write_bytes(pack(*HOSTILE[reason]))
    container = {"ModelDataUrl": f"file://{tmp_path}/stored"}

    with pytest.raises(UserError, match=reason):
        models.deliver(container, tmp_path / "out")
    assert not any((tmp_path / "out").iterdir())
