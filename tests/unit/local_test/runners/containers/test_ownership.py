"""Files of another user are given to this one by an engine that is played. Needs root."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import docker.errors
import pytest

from local_test.runners import engine
from local_test.runners.containers.ownership import Takeover

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes files of other users")
USER = 12345
STRANGER = 23456


class PlayedEngine:
    """A container whose engine is root, as the API of Docker describes it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.written: list[str] = []

    def get_archive(self, path: str) -> tuple[Iterable[bytes], dict[str, Any]]:
        """Return a tar archive of one path in the container."""
        packed = io.BytesIO()
        with privileges(0), tarfile.open(fileobj=packed, mode="w") as tar:
            source = self.root / Path(path).relative_to("/opt/ml")
            tar.add(source, source.name)
        return [packed.getvalue()[:700], packed.getvalue()[700:]], {}

    def put_archive(self, path: str, data: BinaryIO) -> None:
        """Unpack a tar archive, with the users in it."""
        with privileges(0), tarfile.open(fileobj=io.BytesIO(data.read())) as tar:
            self.written += [f"{path}/{name}" for name in tar.getnames()]
            place = self.root / Path(path).relative_to("/opt/ml")
            # Python before 3.11.4 has no filters, and trusts every archive.
            tar.extraction_filter = getattr(tarfile, "fully_trusted_filter", None)
            tar.extractall(place)  # noqa: S202 - of the harness


@contextmanager
def privileges(user: int) -> Iterator[None]:
    """Be this user; root can be had again."""
    before = os.getuid()
    os.setresuid(user, user, 0)
    try:
        yield
    finally:
        os.setresuid(before, before, 0)


@pytest.fixture
def root() -> Iterator[Path]:
    """Yield `/opt/ml` of a job of `USER`, in which a stranger has written."""
    base = Path(tempfile.mkdtemp())  # `tmp_path` is below a directory of root
    for directory in (base, base / "model", base / "output", base / "input"):
        directory.mkdir(exist_ok=True)
        os.chown(directory, USER, USER)
    yield base
    shutil.rmtree(base)


def write(path: Path, content: bytes, mode: int, owner: int = STRANGER) -> None:
    """Write a file in a directory of the owner's."""
    if not path.parent.exists():
        path.parent.mkdir(mode=0o700)
        os.chown(path.parent, owner, owner)
    path.write_bytes(content)
    path.chmod(mode)
    os.chown(path, owner, owner)


@pytest.fixture
def an_engine_of_root(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    info = {"SecurityOptions": ["name=seccomp,profile=default"]}
    monkeypatch.setattr(engine, "reach", lambda: SimpleNamespace(info=lambda: info))
    engine.is_rootless.cache_clear()
    yield
    engine.is_rootless.cache_clear()


@pytest.mark.usefixtures("an_engine_of_root")
def test_everything_is_readable_and_removable_afterwards(root: Path) -> None:
    write(root / "model/deep/weights", b"w" * 3000, 0o600)
    write(root / "model/open", b"o", 0o644)
    write(root / "output/failure", b"why", 0o000, USER)
    write(root / "input/given", b"g", 0o600)
    os.chown(root / "output", STRANGER, STRANGER)
    (root / "model/link").symlink_to("/etc/shadow")
    played = PlayedEngine(root)
    with privileges(USER):
        Takeover(played, root, ("input",)).run()
        assert (root / "model/deep/weights").read_bytes() == b"w" * 3000
        assert (root / "output/failure").read_bytes() == b"why"
        shutil.rmtree(root / "model")
        shutil.rmtree(root / "output")
    assert (root / "input/given").stat().st_uid == STRANGER
    assert played.written == [
        "/opt/ml/output/.",
        "/opt/ml/output",
        "/opt/ml/model/deep",
        "/opt/ml/model/deep/weights",
    ]


@pytest.mark.usefixtures("an_engine_of_root")
def test_what_the_engine_refuses_stays(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise docker.errors.APIError("container rootfs is marked read-only")

    write(root / "model/deep/weights", b"w", 0o600)
    played = PlayedEngine(root)
    monkeypatch.setattr(played, "put_archive", refuse)
    with privileges(USER):
        Takeover(played, root, ()).run()
        assert not os.access(root / "model/deep", os.R_OK)
