"""The page of what happens to each operation, against botocore."""

from __future__ import annotations

import re

import botocore.session
from moto.core.utils import camelcase_to_underscores
from moto.sagemaker.responses import SageMakerResponse

from local_test.aws.process import operations
from tests.support import ROOT

KNOWN = set(botocore.session.get_session().get_service_model("sagemaker").operation_names)


def test_the_page_holds_every_operation_once_in_its_tier() -> None:
    page = (ROOT / "docs/local-sagemaker-operations.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (executed|recorded|refused) \|$", page, re.MULTILINE)
    assert page == operations.format_table()
    assert [name for name, _ in rows] == sorted(KNOWN)
    tiers = [tier for _, tier in rows]
    assert tiers.count("executed") >= 90
    assert tiers.count("refused") < len(KNOWN)


def test_what_is_recorded_can_be_answered() -> None:
    assert operations.OPERATIONS.keys() & KNOWN >= operations.RECORDED_HERE
    assert KNOWN - operations.OPERATIONS.keys() >= operations.RECORDED_BY_MOTO
    methods = {camelcase_to_underscores(name) for name in operations.RECORDED_BY_MOTO}
    assert [name for name in sorted(methods) if not hasattr(SageMakerResponse, name)] == []
