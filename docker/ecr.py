"""Amazon ECR: the AWS CLI's options, a repository, and the manifest of a tag.

Rules of this file: standard library only; the AWS CLI does the work.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from typing import Any, Final

from programs import DeliveryError, explain, run, say

DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
"""The only media type of a manifest that SageMaker's hosting takes (IMG-9)."""
_MANIFEST_TYPES: Final = (
    DOCKER_MANIFEST,
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
)


def compose_aws(options: argparse.Namespace) -> list[str]:
    """Compose the options of every AWS command."""
    if not shutil.which("aws"):
        raise DeliveryError(
            "the AWS CLI is not on PATH: install it (the package `awscli`), or use --no-push to "
            "only build"
        )
    profile = ["--profile", options.profile] if options.profile else []
    region = options.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if not region:
        with contextlib.suppress(DeliveryError):
            region = run(["aws", *profile, "configure", "get", "region"], quiet=True).strip()
    if not region:
        raise DeliveryError("no AWS region: name one with --region, or set AWS_REGION")
    return [*profile, "--region", region, "--output", "json", "--cli-connect-timeout", "10"]


def ask_aws(aws: Sequence[str], *arguments: str) -> Any:
    """Run one AWS command and return its JSON output."""
    output = run(["aws", *arguments, *aws], quiet=True)
    try:
        return json.loads(output or "{}")
    except ValueError as error:
        message = f"`aws {' '.join(arguments[:2])}` does not answer in JSON: {output[:200]}"
        raise DeliveryError(message) from error


def log_in(aws: Sequence[str]) -> str:
    """Return a password for the registry's user `AWS`."""
    return run(["aws", "ecr", "get-login-password", *aws], quiet=True).strip()


def find_or_create_repository(aws: Sequence[str], options: argparse.Namespace, account: str) -> str:
    """Return the repository's URI; create the repository if it is missing.

    The service's answer has the partition's own domain. A dry run of a missing repository derives
    it from the region.
    """
    registry = ["--registry-id", options.account] if options.account else []
    names = ["--repository-names", options.image]
    try:
        found = ask_aws(aws, "ecr", "describe-repositories", *names, *registry)
        if options.lifecycle_policy:
            say(f"{options.image} exists: --lifecycle-policy is not applied, only to a new one")
        return str(found["repositories"][0]["repositoryUri"])
    except DeliveryError as failure:
        if "RepositoryNotFoundException" not in str(failure):
            raise
    if options.dry_run:
        say(f"would create the repository {options.image}")
        region = aws[aws.index("--region") + 1]
        domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        return f"{account}.dkr.ecr.{region}.{domain}/{options.image}"
    say(f"creating the repository {options.image}")
    where = ["--repository-name", options.image, *registry]
    settings = ["--image-scanning-configuration", "scanOnPush=true"]
    settings += ["--image-tag-mutability", "IMMUTABLE"]
    created = ask_aws(aws, "ecr", "create-repository", *where, *settings)
    if options.lifecycle_policy:
        policy = ["--lifecycle-policy-text", f"file://{options.lifecycle_policy}"]
        ask_aws(aws, "ecr", "put-lifecycle-policy", *where, *policy)
    return str(created["repository"]["repositoryUri"])


def fetch_manifest(host: str, path: str, tag: str, password: str) -> tuple[str, str] | None:
    """Return the media type and digest of a tag, or None if the tag does not exist."""
    scheme = "http" if is_loopback(host) else "https"  # and never file: or ftp:
    credentials = base64.b64encode(f"AWS:{password}".encode()).decode()
    headers = {"Authorization": f"Basic {credentials}", "Accept": ", ".join(_MANIFEST_TYPES)}
    url = f"{scheme}://{host}/v2/{path}/manifests/{tag}"
    request = urllib.request.Request(url, headers=headers, method="HEAD")  # noqa: S310 - as above
    try:
        with _make_opener(host).open(request, timeout=30) as answer:
            return answer.headers["Content-Type"], answer.headers["Docker-Content-Digest"]
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 404:
            return None
        raise DeliveryError(_explain_status(host, error)) from error
    except OSError as error:
        text = f"{host} cannot be reached: {error}"
        raise DeliveryError(text) from error


def _make_opener(host: str) -> urllib.request.OpenerDirector:
    """Return an opener that follows no redirect: the new place would be sent the password."""
    handlers: list[urllib.request.BaseHandler] = [
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
    ]
    if not is_loopback(host):  # a proxy has another loopback, and would be sent the password
        handlers.append(urllib.request.ProxyHandler())
    opener = urllib.request.OpenerDirector()
    for handler in handlers:
        opener.add_handler(handler)
    return opener


def _explain_status(host: str, error: urllib.error.HTTPError) -> str:
    text = f"{host} answers {error.code} {error.reason}"
    if not 300 <= error.code < 400:
        return explain(text)
    place = "another place"
    with contextlib.suppress(ValueError):
        # Without user, path and query, which may hold secrets.
        place = urllib.parse.urlsplit(error.headers.get("Location", "")).hostname or place
    return explain(
        f"{text} and redirects to {place}, which is not sent the password; "
        "if that is the registry, name it with --registry"
    )


def is_loopback(host: str) -> bool:
    """Return whether a registry is on this machine, where HTTP is enough."""
    return host.partition(":")[0] in ("localhost", "127.0.0.1")
