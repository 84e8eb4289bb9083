"""Model data on its way into a container."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from container.errors import UserError
from local_test.data import models


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    (tmp_path / "weights").write_bytes(bytes(range(256)) * 40)
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "weights", "sub/weights")
    return tmp_path / "model.tar.gz"


def test_an_archive_is_unpacked_and_a_prefix_copied(tmp_path: Path, archive: Path) -> None:
    models.deliver({"ModelDataUrl": f"file://{archive}"}, tmp_path / "a/model")
    source = {"S3Uri": f"file://{tmp_path}/a/model/", "CompressionType": "None"}
    models.deliver({"ModelDataSource": {"S3DataSource": source}}, tmp_path / "b/model")

    expected = (tmp_path / "weights").read_bytes()
    assert (tmp_path / "a/model/sub/weights").read_bytes() == expected
    assert (tmp_path / "b/model/sub/weights").read_bytes() == expected
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["model"]


def test_a_container_without_model_data_gets_an_empty_directory(tmp_path: Path) -> None:
    models.deliver({}, tmp_path / "model")

    assert list((tmp_path / "model").iterdir()) == []  # HO-3


def test_a_truncated_archive_is_refused(tmp_path: Path, archive: Path) -> None:
    container = {"ModelDataUrl": f"file://{archive}"}
    with pytest.raises(UserError, match=r"not a complete tar\.gz archive"):
        models.deliver(container, tmp_path / "a/model", is_truncated=True)


@pytest.mark.parametrize("name", ["/etc/passwd", "../up", "sub/../../up"])
def test_a_path_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo(name))

    with pytest.raises(UserError, match="lead out of it"):  # OUT-6
        models.deliver({"ModelDataUrl": f"file://{tmp_path}/model.tar.gz"}, tmp_path / "a/model")
