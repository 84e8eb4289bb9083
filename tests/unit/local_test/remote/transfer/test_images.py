"""A local image is pushed once, under a tag that names its content; moto plays ECR."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from container.errors import PlatformError, UserError
from local_test.remote.access import Account
from local_test.remote.transfer import images
from local_test.remote.transfer.images import LocalImage

DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
OCI = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    with mock_aws():
        session = boto3.Session(region_name="us-east-1")
        yield Account(session, "123456789012", "aws", "arn")


def make_image(account: Account, media_type: str | None = DOCKER) -> tuple[LocalImage, list[str]]:
    """Return an image whose push stores a manifest in ECR, as an engine's does."""
    pushed: list[str] = []

    def push(repository: str, tag: str, password: str) -> None:
        assert password
        pushed.append(f"{repository}:{tag}")
        if media_type is not None:
            account.client("ecr").put_image(
                repositoryName=repository.partition("/")[2],
                imageTag=tag,
                imageManifest=json.dumps({"schemaVersion": 2, "mediaType": media_type}),
                imageManifestMediaType=media_type,
            )

    return LocalImage("team/mine:1", f"sha256:{'ab' * 32}", "amd64", push), pushed


def test_an_image_is_pushed_once(account: Account) -> None:
    image, pushed = make_image(account)
    said: list[str] = []
    assert images.push(account, image, said.append)
    assert not images.push(account, image, said.append)
    uri = f"123456789012.dkr.ecr.us-east-1.amazonaws.com/team/mine:{'ab' * 8}"
    assert pushed == [uri]
    assert images.find_uri(account, image) == uri
    assert images.is_remote(uri)
    assert said[-1] == f"{uri} is in the registry already"
    [repository] = account.client("ecr").describe_repositories()["repositories"]
    assert repository["imageTagMutability"] == "IMMUTABLE"


@pytest.mark.parametrize(
    ("media_type", "kind", "words"),
    [(OCI, UserError, "hosting takes only"), (None, PlatformError, "does not have")],
)
def test_a_push_that_does_not_serve_is_reported(
    account: Account, media_type: str | None, kind: type[Exception], words: str
) -> None:
    image, _ = make_image(account, media_type)
    with pytest.raises(kind, match=words):
        images.push(account, image, lambda _: None)


@pytest.mark.parametrize(
    ("instance_type", "architecture", "fits"),
    [
        ("ml.m5.large", "amd64", True),
        ("ml.m5.large", "arm64", False),
        ("ml.c7g.xlarge", "arm64", True),
        ("ml.m6gd.large", "amd64", False),
        ("ml.g4dn.xlarge", "amd64", True),
        ("ml.g5.xlarge", "amd64", True),
    ],
)
def test_the_architecture_is_that_of_the_instance(
    instance_type: str, architecture: str, fits: bool
) -> None:
    def find(name: str) -> Any:
        return LocalImage(name, "sha256:00", architecture, lambda *_: None)

    check = functools.partial(images.check, "mine:1", instance_type, find)
    if fits:
        assert check() is not None
        return
    with pytest.raises(UserError, match=f"is built for {architecture}, and {instance_type} runs"):
        check()


def test_names_lose_their_tag_and_digest() -> None:
    names = ("mine", "mine:1", "host:5000/mine", "mine@sha256:00", "team/mine:a")
    found = [LocalImage(name, "sha256:00", "amd64", lambda *_: None).repository for name in names]
    assert found == ["mine", "mine", "host:5000/mine", "mine", "team/mine"]
