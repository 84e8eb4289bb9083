"""The parts of policies: ARNs, conditions and statements."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from container.errors import UserError
from local_test.remote import inventory
from local_test.remote.access import PREFIX, TAG, Account

Policy = dict[str, Any]
CREATED: Final = {"Null": {f"aws:RequestTag/{TAG}": "false"}}
"""Only what is made with the tag."""
OWNED: Final = {"Null": {f"aws:ResourceTag/{TAG}": "false"}}
"""Only what carries the tag."""
KINDS: Final = {kind.member: kind.noun.replace("_", "-") for kind in inventory.KINDS}
"""What `byo aws ls` lists: the noun in operations, and in ARNs."""


@dataclass(frozen=True)
class Grants:
    """What requests may name besides the default bucket."""

    buckets: Sequence[str] = ()
    """Names of other buckets that jobs may read."""
    keys: Sequence[str] = ()
    """ARNs of KMS keys of buckets, outputs and volumes."""
    in_vpc: bool = False
    """Whether jobs may run in a VPC."""

    def __post_init__(self) -> None:
        """Check the names. Raises: UserError that lists every fault."""
        faults = [
            f"--bucket {name}: expected a name, without s3:// and without a key"
            for name in self.buckets
            if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", name)
        ]
        faults += [
            f"--key {arn}: expected an ARN, as arn:aws:kms:us-east-1:123456789012:key/..."
            for arn in self.keys
            if not re.fullmatch(r"arn:[^:]+:kms:[^:]+:[0-9]{12}:key/[^*?]+", arn)
        ]
        if faults:
            raise UserError.from_faults("no policy is made", faults)


@dataclass(frozen=True)
class Arns:
    """Names of what is in an account."""

    account: Account

    @property
    def bucket(self) -> str:
        """Return the ARN of the default bucket."""
        return f"arn:{self.account.partition}:s3:::{self.account.bucket}"

    @property
    def objects(self) -> str:
        """Return the ARNs of what is stored here."""
        return f"{self.bucket}/{PREFIX}*"

    @property
    def in_account(self) -> dict[str, Any]:
        """Return the condition that a bucket is not that of another account of the same name."""
        return {"StringEquals": {"s3:ResourceAccount": self.account.number}}

    def name(self, service: str, resource: str) -> str:
        """Return the ARN of a resource, such as `repository/*` of `ecr`."""
        where = f"{self.account.region}:{self.account.number}"
        return f"arn:{self.account.partition}:{service}:{where}:{resource}"

    def sagemaker(self, *nouns: str) -> list[str]:
        """Return the ARNs of all resources of some kinds."""
        return [self.name("sagemaker", f"{KINDS[noun]}/*") for noun in nouns]

    def logs(self, *groups: str) -> list[str]:
        """Return the ARNs of log groups of SageMaker, and of their streams."""
        names = [self.name("logs", f"log-group:/aws/sagemaker/{group}") for group in groups]
        return [f"{name}{end}" for name in names for end in ("", ":*")]


def allow(
    sid: str, actions: Sequence[str], resources: Sequence[str], condition: Any = None
) -> dict[str, Any]:
    """Return a statement that allows actions on resources, if a condition holds."""
    statement: dict[str, Any] = {
        "Sid": sid,
        "Effect": "Allow",
        "Action": list(actions),
        "Resource": list(resources),
    }
    if condition is not None:
        statement["Condition"] = condition
    return statement


def document(*statements: dict[str, Any]) -> Policy:
    """Return a policy of statements."""
    return {"Version": "2012-10-17", "Statement": list(statements)}


def call(verb: str, nouns: Iterable[str]) -> list[str]:
    """Return the actions of a verb on some kinds, such as `sagemaker:StopTrainingJob`."""
    return [f"sagemaker:{verb}{noun}" for noun in nouns]


def allow_keys(grants: Grants) -> list[dict[str, Any]]:
    """Return what KMS keys need: of objects in S3, and, by a grant, of volumes."""
    if not grants.keys:
        return []
    uses = ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:DescribeKey"]
    by_aws = {"Bool": {"kms:GrantIsForAWSResource": "true"}}
    return [
        allow("Keys", uses, grants.keys),
        allow("Volumes", ["kms:CreateGrant"], grants.keys, by_aws),
    ]
