"""The execution role in the account."""

import json
from typing import Final

from local_test.remote.access import TAG, Account
from local_test.remote.permissions import policies
from local_test.remote.permissions.statements import Grants
from local_test.remote.refusals import explaining, find_code, ignoring

_POLICY_NAME: Final = "byo-sagemaker"


def create(account: Account, name: str, grants: Grants) -> bool:
    """Make the role, or update one that carries the tag; return whether it was made.

    Raises: UserError if IAM refuses, or a role of the name was made by someone else.
    """
    iam = account.client("iam")
    trust = json.dumps(policies.make_trust_policy(account))

    def is_ours(error: Exception) -> bool:
        return find_code(error) == "EntityAlreadyExists" and any(
            tag["Key"] == TAG for tag in iam.list_role_tags(RoleName=name)["Tags"]
        )

    with explaining():
        with ignoring(is_ours) as exists:
            iam.create_role(
                RoleName=name,
                AssumeRolePolicyDocument=trust,
                Description="Execution role of jobs and endpoints on SageMaker",
                Tags=[{"Key": TAG, "Value": "role"}],
            )
        if exists:
            iam.update_assume_role_policy(RoleName=name, PolicyDocument=trust)
        iam.put_role_policy(
            RoleName=name,
            PolicyName=_POLICY_NAME,
            PolicyDocument=json.dumps(policies.make_role_policy(account, grants)),
        )
    return not exists
