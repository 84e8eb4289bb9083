"""The owner of all jobs and endpoints: account, region, ARNs, credentials."""

import os
from collections.abc import Mapping

ACCOUNT = os.environ.get("LOCAL_TEST_ACCOUNT") or "000000000000"
"""The account in every ARN and role of this machine."""


def region() -> str:
    """Return the region in ARNs and in the containers' environment."""
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"


def arn(kind: str, name: str) -> str:
    """Return the ARN of a job, model or endpoint."""
    return f"arn:aws:sagemaker:{region()}:{ACCOUNT}:{kind}/{name.lower()}"


def _credentials(*, is_isolated: bool) -> dict[str, str]:
    """Return the variable by which a container asks for its role's credentials (SEC-1).

    An isolated container has none. Nothing answers at the address, as for a role without
    permissions; but a container that sees no variable takes itself for isolated.
    """
    if is_isolated:
        return {}
    return {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials/local"}


def environment(given: Mapping[str, str], *, is_isolated: bool) -> dict[str, str]:
    """Return a container's variables: credentials, those of the request, and the region."""
    return {**_credentials(is_isolated=is_isolated), **given, "AWS_REGION": region()}
