"""The user's account: session, region, bucket, role, and clients that retry what is throttled.

boto3 finds credentials and endpoints as it does in any program. With `AWS_ENDPOINT_URL` the same
code talks to the local AWS.
"""

import difflib
import functools
import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from container.errors import PlatformError, UserError
from local_test.remote.refusals import explaining, ignoring, is_missing

TAG: Final = "byo-sagemaker"
"""The key of the tag that marks everything that is made here; its value is the command."""
PREFIX: Final = "byo/"
"""Where everything that is stored here has its place in the bucket."""
ROLE_NAME: Final = "byo-sagemaker-execution"
"""The role that `byo aws role --create` makes, and the default of `--role`."""
_ATTEMPTS: Final = 8
_TIMEOUT_S: Final = 30


@dataclass(frozen=True)
class Account:
    """An account, and how it is reached."""

    session: Any
    """A boto3 session with a region."""
    number: str
    """Twelve digits."""
    partition: str
    """`aws`, `aws-cn` or `aws-us-gov`."""
    caller: str
    """The ARN of the credentials."""

    @property
    def region(self) -> str:
        """The region of the session."""
        return str(self.session.region_name)

    @property
    def bucket(self) -> str:
        """The bucket that the SDKs use by default."""
        return f"sagemaker-{self.region}-{self.number}"

    def client(self, service: str) -> Any:
        """Return a client of a service, which retries when it is throttled."""
        return _make_client(self.session, service)

    def name_role(self, given: str | None) -> str:
        """Return the ARN of a role that is named by name or ARN."""
        if given and given.startswith("arn:"):
            return given
        return f"arn:{self.partition}:iam::{self.number}:role/{given or ROLE_NAME}"


def find_account(
    profile: str | None, region: str | None, make_session: Callable[..., Any] | None = None
) -> Account:
    """Find the account of the credentials.

    Raises: UserError if there are no credentials or no region, or the credentials are refused.
    """
    if make_session is None:
        import boto3  # noqa: PLC0415 - takes 0.2 s, which local commands do not need

        make_session = boto3.Session
    with explaining():
        # boto3 itself reads only AWS_DEFAULT_REGION.
        chosen = region or os.environ.get("AWS_REGION") or None
        session = make_session(profile_name=profile, region_name=chosen)
        if not session.region_name:
            raise UserError("no AWS region; name one with --region, or set AWS_REGION")
    doubt = doubt_region(session)
    try:
        with explaining():
            sts = _make_client(session, "sts", attempts=1 if doubt else _ATTEMPTS)
            identity = sts.get_caller_identity()
    except PlatformError as error:
        if doubt:
            raise UserError(f"{error}; {doubt}") from error
        raise
    return Account(
        session, str(identity["Account"]), identity["Arn"].split(":")[1], str(identity["Arn"])
    )


def doubt_region(session: Any) -> str:
    """Return the names that a region may stand for; empty if boto3 knows it."""
    partitions = session.get_available_partitions()
    regions = [session.get_available_regions("sagemaker", name) for name in partitions]
    known = sorted(itertools.chain(*regions))
    if session.region_name in known:
        return ""
    near = difflib.get_close_matches(session.region_name, known, 3, 0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(known)}"
    return f"no region {session.region_name!r} is known; {hint}"


def list_all(client: Any, operation: str, **where: Any) -> list[dict[str, Any]]:
    """Return what all pages of a list hold; nothing if what it belongs to has vanished.

    Raises: botocore's errors.
    """
    pages = client.get_paginator(operation)
    with ignoring(is_missing):
        found = pages.paginate(**where).search(f"{pages.result_keys[0].expression}[]")
        return [item for item in found if item]
    return []


@functools.cache
def _make_client(
    session: Any, service: str, region: str | None = None, attempts: int = _ATTEMPTS
) -> Any:
    from botocore.config import Config  # noqa: PLC0415 - as above

    config = Config(
        retries={"mode": "standard", "total_max_attempts": attempts},
        connect_timeout=_TIMEOUT_S,
        read_timeout=_TIMEOUT_S,
    )
    return session.client(service, config=config, region_name=region)


def make_price_client(account: Account) -> Any:
    """Return a client of the price list, which only few regions have."""
    return _make_client(account.session, "pricing", "us-east-1")
