"""A local image in the account's registry, under a tag that names its content."""

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from container.errors import PlatformError, UserError
from local_test.remote.access import TAG, Account
from local_test.remote.refusals import explaining, has_code, ignoring
from local_test.requests import shorthand

_REGISTRY: Final = re.compile(r"[0-9]{12}\.dkr\.ecr[^/]*/")
_DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
_GRAVITON: Final = re.compile(r"ml\.[a-z]+[0-9]+g[a-z]*\.")
_DIGITS: Final = 16


@dataclass(frozen=True)
class LocalImage:
    """An image of the engine on this machine."""

    name: str
    identifier: str
    """The digest of its configuration, such as `sha256:...`: it names the content."""
    architecture: str
    """As Docker says: amd64, arm64."""
    push: Callable[[str, str, str], None]
    """Push it: to a repository, under a tag, with the password of the user `AWS`."""
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def repository(self) -> str:
        """The name of its repository, without registry, tag and digest."""
        path = self.name.partition("@")[0]
        head, slash, tail = path.rpartition("/")
        return f"{head}{slash}{tail.partition(':')[0]}"

    @property
    def tag(self) -> str:
        """The tag that names its content."""
        return self.identifier.partition(":")[2][:_DIGITS]


def is_remote(name: str) -> bool:
    """Return whether a name is already that of an image in ECR."""
    return _REGISTRY.match(name) is not None


def names_content(tag: str) -> bool:
    """Return whether a tag is of the form of `LocalImage.tag`."""
    return re.fullmatch(f"[0-9a-f]{{{_DIGITS}}}", tag) is not None


def find_architecture(instance_type: str) -> str:
    """Return the architecture of an instance type, as Docker says it."""
    return "arm64" if _GRAVITON.match(instance_type) else "amd64"


def find_uri(account: Account, image: LocalImage) -> str:
    """Return the URI that the image has in the account's registry, pushed or not."""
    domain = "amazonaws.com.cn" if account.partition == "aws-cn" else "amazonaws.com"
    registry = f"{account.number}.dkr.ecr.{account.region}.{domain}"
    return f"{registry}/{image.repository}:{image.tag}"


def check(name: str, instance_type: str, find: Callable[[str], LocalImage]) -> LocalImage | None:
    """Return the local image of a request, or None for one that is in ECR already.

    Raises: UserError if it is a program, or cannot run on the instance.
    """
    if name == shorthand.PROGRAM_IMAGE:
        raise UserError("AWS runs images; name one with --image: a local one, or its URI in ECR")
    if is_remote(name):
        return None
    image = find(name)
    wanted = find_architecture(instance_type)
    if image.architecture != wanted:
        raise UserError(
            f"{name} is built for {image.architecture}, and {instance_type} runs {wanted}; build "
            f"it with --platform linux/{wanted}, or choose another --instance-type"
        )
    return image


def push(account: Account, image: LocalImage, say: Callable[[str], None]) -> bool:
    """Push an image if the registry does not have it; return whether it was pushed.

    Raises: UserError if the registry refuses it; PlatformError if it is not there afterwards.
    """
    ecr = account.client("ecr")
    manifest_type = _find_manifest_type(ecr, image)
    if manifest_type is not None:
        _check_manifest_type(manifest_type, find_uri(account, image))
        say(f"{find_uri(account, image)} is in the registry already")
        return False
    with explaining():
        token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    password = base64.b64decode(token).decode().partition(":")[2]
    repository, _, tag = find_uri(account, image).rpartition(":")
    say(f"pushing {image.name} to {repository}:{tag}")
    image.push(repository, tag, password)
    manifest_type = _find_manifest_type(ecr, image)
    if manifest_type is None:
        raise PlatformError(f"the registry accepted the push, but does not have {repository}:{tag}")
    _check_manifest_type(manifest_type, f"{repository}:{tag}")
    return True


def _check_manifest_type(manifest_type: str, uri: str) -> None:
    if manifest_type != _DOCKER_MANIFEST:
        raise UserError(
            f"{uri} has the media type {manifest_type}; SageMaker's hosting takes "
            f"only {_DOCKER_MANIFEST}; build it with build_and_push.sh, or without attestations"
        )


def _find_manifest_type(ecr: Any, image: LocalImage) -> str | None:
    """Return the media type of the image in the registry; make the repository if it is missing."""
    with explaining():
        with ignoring(has_code("RepositoryNotFoundException")) as missing:
            found = ecr.batch_get_image(
                repositoryName=image.repository, imageIds=[{"imageTag": image.tag}]
            )
        if missing:
            ecr.create_repository(
                repositoryName=image.repository,
                imageTagMutability="IMMUTABLE",
                imageScanningConfiguration={"scanOnPush": True},
                tags=[{"Key": TAG, "Value": "image"}],
            )
            return None
    for item in found["images"]:
        return str(item.get("imageManifestMediaType") or _DOCKER_MANIFEST)
    return None


def find_local(name: str) -> LocalImage:
    """Return an image of the Docker engine.

    Raises: PlatformError if the engine cannot be reached, UserError if it has no such image.
    """
    # The engine's client is slow to import.
    from local_test.runners import engine  # noqa: PLC0415 - see above

    found = engine.find_image(name)

    def push_it(repository: str, tag: str, password: str) -> None:
        found.tag(repository, tag)
        login = {"username": "AWS", "password": password}
        lines = engine.reach().images.push(
            repository, tag, auth_config=login, stream=True, decode=True
        )
        for line in lines:
            if "error" in line:
                raise PlatformError(f"the push of {repository}:{tag} failed: {line['error']}")

    pairs = (text.partition("=") for text in found.attrs.get("Config", {}).get("Env") or ())
    environment = {name: value for name, _, value in pairs}
    return LocalImage(name, found.id, str(found.attrs["Architecture"]), push_it, environment)
