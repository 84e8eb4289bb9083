"""Tags of resources."""

from __future__ import annotations

import pytest

from local_test.aws.account.account import Account
from local_test.aws.account.kinds import MODEL, PACKAGE
from local_test.aws.account.records import Tag
from local_test.aws.protocol.messages import AwsError
from local_test.aws.sagemaker import tags

ARN = "arn:aws:sagemaker:us-east-1:000000000000:model/m"
ONE: Tag = {"Key": "team", "Value": "one"}
TWO: Tag = {"Key": "team", "Value": "two"}


@pytest.fixture(autouse=True)
def resources(account: Account) -> None:
    account.store.insert(MODEL, "M", {"ModelName": "M", "ModelArn": ARN, "CreationTime": 0})
    arn = ARN.replace("model/m", "model-package/g/1")
    package = {"ModelPackageName": "g", "_name": "g/1", "ModelPackageArn": arn, "CreationTime": 0}
    account.store.insert(PACKAGE, "g/1", package)


@pytest.mark.parametrize("path", ["model/m", "model/M", "model-package/g/1"])
def test_tags_are_added_replaced_and_removed(account: Account, path: str) -> None:
    arn = ARN.replace("model/m", path)
    tags.add_tags(account, {"ResourceArn": arn, "Tags": [ONE]})
    assert tags.add_tags(account, {"ResourceArn": arn, "Tags": [TWO]}) == {"Tags": [TWO]}
    assert tags.list_tags(account, {"ResourceArn": arn}) == {"Tags": [TWO]}
    tags.delete_tags(account, {"ResourceArn": arn, "TagKeys": ["team", "unknown"]})
    assert tags.list_tags(account, {"ResourceArn": arn}) == {"Tags": []}


@pytest.mark.parametrize("path", ["model/other", "no-kind/m"])
def test_an_unknown_resource_is_refused(account: Account, path: str) -> None:
    with pytest.raises(AwsError, match="Could not find resource"):
        tags.list_tags(account, {"ResourceArn": ARN.replace("model/m", path)})


def test_the_service_keeps_fifty_tags_and_no_reserved_ones() -> None:
    many: list[Tag] = [{"Key": str(number), "Value": ""} for number in range(50)]
    assert tags.merge_tags(many, [{"Key": "0", "Value": "new"}])[0]["Value"] == "new"
    with pytest.raises(AwsError, match="51 tags; at most 50"):
        tags.merge_tags(many, [ONE])
    with pytest.raises(AwsError, match="must not start with aws: AWS:team"):
        tags.merge_tags([], [{"Key": "AWS:team", "Value": ""}])
