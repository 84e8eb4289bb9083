"""Roles and AWS's own policies, which exist on AWS before a program names them.

A role that nobody made is made when a request first names it, as programs take an execution role
for granted. One that was deleted stays deleted.
"""

import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

_AWS_POLICY: Final = ":iam::aws:policy/"
_TRUST: Final = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "sagemaker.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}


class Roles:
    """Makes what requests take for granted in moto's IAM."""

    def __init__(self, account: str) -> None:
        self._account = account
        self._lock = threading.Lock()

    def prepare(self, form: Mapping[str, Sequence[str]]) -> None:
        """Make the role and the policy that a request of IAM names, if it needs them."""
        action = form.get("Action", [""])[0]
        name = form.get("RoleName", [""])[0]
        with self._lock:
            if action == "CreateRole":
                self._make_room(name)
            elif action == "DeleteRole":
                self._note("implied").discard(name)
                self._note("deleted").add(name)
            elif name and name not in self._note("deleted"):
                self._imply(name)
            arn = form.get("PolicyArn", [""])[0]
            if _AWS_POLICY in arn:
                self._add_policy(arn)

    def make(self, name: str) -> None:
        """Make a role that SageMaker may assume, unless it exists."""
        if self._find(name) is not None:
            return
        self._backend().create_role(
            role_name=name,
            assume_role_policy_document=json.dumps(_TRUST),
            path="/",
            permissions_boundary=None,
            description="A role of every job on this machine",
            tags=[],
            max_session_duration="3600",
        )

    def _backend(self) -> Any:
        from moto.iam.models import iam_backends  # noqa: PLC0415 - takes long to import

        return iam_backends[self._account]["aws"]

    def _note(self, which: str) -> set[str]:
        """Return a set of role names that moto's state includes, so that it survives with it.

        Those `implied` were made because they were named, and CreateRole may still make them.
        """
        notes: set[str] = vars(self._backend()).setdefault(f"{which}_roles", set())
        return notes

    def _find(self, name: str) -> Any:
        roles = list(self._backend().roles.values())
        return next((role for role in roles if role.name == name), None)

    def _imply(self, name: str) -> None:
        if self._find(name) is None:
            self.make(name)
            self._note("implied").add(name)

    def _make_room(self, name: str) -> None:
        """Let CreateRole make a role that only we had made."""
        self._note("deleted").discard(name)
        role = self._find(name)
        if name in self._note("implied") and role is not None:
            self._note("implied").discard(name)
            del self._backend().roles[role.id]

    def _add_policy(self, arn: str) -> None:
        """Add one of AWS's own policies; a name that AWS does not have stays unknown."""
        from moto.iam.aws_managed_policies import aws_managed_policies_data  # noqa: PLC0415 - large
        from moto.iam.models import AWSManagedPolicy  # noqa: PLC0415 - takes long to import

        backend = self._backend()
        name = arn.rpartition("/")[2]
        if arn in backend.managed_policies:
            return
        data = json.loads(aws_managed_policies_data).get(name)
        if data is not None:
            policy = AWSManagedPolicy.from_data(name, self._account, "aws", data)
            backend.managed_policies[policy.arn] = policy
