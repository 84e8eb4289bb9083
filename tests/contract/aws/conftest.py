"""One local AWS that all tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.aws.client import LocalAws


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    with LocalAws(tmp_path_factory.mktemp("local-aws")).running() as local:
        local.s3.put_object(Bucket=local.bucket, Key="data/a.csv", Body=b"1,2\n")
        yield local
