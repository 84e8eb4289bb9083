"""One local AWS that all tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.aws.client import LocalAws
from tests.contract.aws.remote import Remote, answer


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    with LocalAws(tmp_path_factory.mktemp("local-aws")).running() as local:
        local.s3.put_object(Bucket=local.bucket, Key="data/a.csv", Body=b"1,2\n")
        yield local


@pytest.fixture
def remote(
    aws: LocalAws,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Remote:
    found = Remote(aws, tmp_path / "jobs", capsys, monkeypatch)
    found.faults["GetProducts"] = [answer(400, "AccessDeniedException")] * 9
    return found
