"""What policies permit, and what they must not: nothing that others made, no other service."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

from container.errors import UserError
from local_test.remote.access import Account
from local_test.remote.permissions import policies
from local_test.remote.permissions.statements import Grants
from tests.contract.aws.simulator import KINDS, NUMBER, REGION, Need, permits

ACCOUNT = Account(SimpleNamespace(region_name=REGION), NUMBER, "aws", "arn:caller")
ROLE = ACCOUNT.name_role(None)
KEY = f"arn:aws:kms:{REGION}:{NUMBER}:key/abc"
OURS = {"aws:ResourceTag/byo-sagemaker": "training"}
MADE = {"aws:RequestTag/byo-sagemaker": "training"}
SERVICE = {"iam:PassedToService": "sagemaker.amazonaws.com"}
REPOSITORY = f"arn:aws:ecr:{REGION}:{NUMBER}:repository/production"
LOGS = f"arn:aws:logs:{REGION}:{NUMBER}:log-group:/aws/sagemaker"
RUNS = ("train", "evaluate", "transform", "tune", "serve")
ANY = tuple(policies.COMMANDS)
NOTHING = Grants()


def make(command: str, grants: Grants = NOTHING) -> dict[str, Any]:
    if command == "role":
        return policies.make_role_policy(ACCOUNT, grants)
    return policies.make_command_policy(ACCOUNT, command, ROLE, grants)


def list_ends() -> list[Need]:
    arns = {noun: f"arn:aws:sagemaker:{REGION}:{NUMBER}:{kind}/x" for noun, kind in KINDS.items()}
    return [
        *(Need(f"sagemaker:Delete{noun}", arn) for noun, arn in arns.items()),
        *(Need(f"sagemaker:Stop{noun}", arn) for noun, arn in arns.items()),
        *(Need("sagemaker:DeleteTags", arn) for arn in arns.values()),
        *(Need(f"ecr:{action}", REPOSITORY) for action in ("DeleteRepository", "BatchDeleteImage")),
        *(Need(f"ecr:{action}", REPOSITORY) for action in ("PutImage", "InitiateLayerUpload")),
    ]


def test_what_ends_or_changes_something_needs_its_tag() -> None:
    permitted = set()
    for command in ANY:
        for need in list_ends():
            assert not permits(make(command), need), f"{command}: {need}"
            if permits(make(command), need._replace(context=OURS)):
                permitted.add(need.action)
    refused = {need.action for need in list_ends()} - permitted
    assert refused == {
        "sagemaker:DeleteTransformJob",  # neither of these operations exists
        "sagemaker:StopEndpoint",
        "sagemaker:StopEndpointConfig",
        "sagemaker:StopModel",
    }


@pytest.mark.parametrize("command", RUNS)
def test_a_tag_is_only_that_of_a_creation(command: str) -> None:
    policy = make(command)
    noun = policies._RUNS[command][0][0]  # noqa: SLF001 - what the command makes
    arn = f"arn:aws:sagemaker:{REGION}:{NUMBER}:{KINDS[noun]}/x"
    assert permits(policy, Need(f"sagemaker:Create{noun}", arn, MADE))
    assert not permits(policy, Need(f"sagemaker:Create{noun}", arn))
    creation = {"sagemaker:TaggingAction": f"Create{noun}"}
    assert permits(policy, Need("sagemaker:AddTags", arn, MADE | creation))
    assert not permits(policy, Need("sagemaker:AddTags", arn, MADE))
    assert not permits(policy, Need("ecr:TagResource", REPOSITORY, {"aws:RequestTag/team": "a"}))


@pytest.mark.parametrize("command", RUNS)
def test_the_role_is_passed_to_sagemaker_only(command: str) -> None:
    policy = make(command)
    assert permits(policy, Need("iam:PassRole", ROLE, SERVICE))
    for service in ("lambda.amazonaws.com", "ec2.amazonaws.com"):
        assert not permits(policy, Need("iam:PassRole", ROLE, {"iam:PassedToService": service}))
    assert not permits(policy, Need("iam:PassRole", ROLE))
    assert not permits(policy, Need("iam:PassRole", f"{ROLE}-of-others", SERVICE))


@pytest.mark.parametrize("command", [*ANY, "role"])
def test_no_policy_reaches_a_bucket_of_another_account_or_all_logs(command: str) -> None:
    policy = make(command)
    bucket = f"arn:aws:s3:::{ACCOUNT.bucket}"
    theirs = {"s3:ResourceAccount": "999999999999"}
    for action in ("ListBucket", "DeleteBucket", "PutBucketTagging", "GetBucketTagging"):
        assert not permits(policy, Need(f"s3:{action}", bucket, theirs))
    for action in ("GetObject", "PutObject", "DeleteObject", "AbortMultipartUpload"):
        assert not permits(policy, Need(f"s3:{action}", f"{bucket}/byo/data/a", theirs))
        ours = {"s3:ResourceAccount": NUMBER}
        assert not permits(policy, Need(f"s3:{action}", f"{bucket}/other/a", ours))
    assert not permits(policy, Need("logs:DeleteLogGroup", f"{LOGS}/TrainingJobs"))
    wildcards = [
        action
        for statement in policy["Statement"]
        if statement["Resource"] == ["*"]
        for action in statement["Action"]
    ]
    has_no_resource = "sagemaker:List|ecr:GetAuthorizationToken|cloudwatch:|pricing:|servicequotas:"
    assert not [action for action in wildcards if not re.match(has_no_resource, action)]


def test_metrics_are_those_of_sagemaker() -> None:
    for namespace, is_permitted in {"/aws/sagemaker/TrainingJobs": True, "Billing": False}.items():
        need = Need("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": namespace})
        assert permits(make("role"), need) is is_permitted


def test_keys_and_a_vpc_are_permitted_where_they_are_asked_for() -> None:
    grants = Grants(keys=[KEY], in_vpc=True)
    grant = Need("kms:CreateGrant", KEY, {"kms:GrantIsForAWSResource": "true"})
    interface = f"arn:aws:ec2:{REGION}:{NUMBER}:network-interface/eni-1"
    network = Need("ec2:CreateNetworkInterface", interface)
    for command in ("role", "train", "serve"):
        for need in (grant, Need("kms:Decrypt", KEY)):
            assert permits(make(command, grants), need)
            assert not permits(make(command), need)
        assert not permits(make(command, grants), grant._replace(context={}))
        assert not permits(make(command, grants), Need("kms:Decrypt", f"{KEY}d"))
    assert not permits(make("ls", grants), Need("kms:Decrypt", KEY))
    assert permits(make("role", grants), network)
    assert permits(make("role", grants), Need("ec2:DescribeSubnets", "*"))
    assert not permits(make("role"), network)


def test_all_wrong_names_are_refused_at_once() -> None:
    with pytest.raises(UserError) as caught:
        Grants(buckets=["s3://mine/x", "fine"], keys=["alias/mine", KEY, "*"])
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()[1:]] == [
        "  - --bucket s3",
        "  - --key alias/mine",
        "  - --key *",
    ]
