"""What the registry knows of an image: its platform and its environment."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from container.errors import PlatformError, UserError
from local_test.remote.access import Account
from local_test.remote.refusals import explaining

_URI: Final = re.compile(
    r"(?P<number>[0-9]{12})\.dkr\.ecr\.(?P<region>[^.]+)\.[^/]+/(?P<path>[^:@]+)"
    r"(?::(?P<tag>[^@]+))?(?:@(?P<digest>.+))?"
)
_SINGLE: Final = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
)
_TIMEOUT_S: Final = 30
_CONFIG_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class ImageFacts:
    """Platform and environment of an image."""

    architecture: str
    """As Docker says: amd64, arm64."""
    environment: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_registry(cls, account: Account, uri: str) -> ImageFacts:
        """Read the configuration of an image in ECR.

        Raises: UserError if the image does not exist, or is not one for one platform with Docker's
            media type; PlatformError if it cannot be read.
        """
        parts = _URI.fullmatch(uri)
        if parts is None:
            raise UserError(f"{uri} is not the URI of an image in ECR")
        identifier = {"imageTag": parts["tag"] or "latest"}
        if parts["digest"]:
            identifier = {"imageDigest": parts["digest"]}
        ecr = account.client("ecr")
        where = {"registryId": parts["number"], "repositoryName": parts["path"]}
        with explaining():
            found = ecr.batch_get_image(
                imageIds=[identifier], acceptedMediaTypes=list(_SINGLE), **where
            )
            if not found["images"]:
                reasons = [str(item.get("failureReason")) for item in found.get("failures", ())]
                raise UserError(f"the registry has no single image {uri}: {', '.join(reasons)}")
            manifest = json.loads(found["images"][0]["imageManifest"])
            media_type = manifest.get("mediaType", _SINGLE[0])
            if media_type != _SINGLE[0]:
                raise UserError(
                    f"{uri} has the media type {media_type}; SageMaker's hosting takes only "
                    f"{_SINGLE[0]}"
                )
            blob = ecr.get_download_url_for_layer(layerDigest=manifest["config"]["digest"], **where)
        config = _download(blob["downloadUrl"])
        pairs = (text.partition("=") for text in config.get("config", {}).get("Env") or ())
        return cls(str(config["architecture"]), {name: value for name, _, value in pairs})


def _download(url: str) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - ECR named it
            document: dict[str, Any] = json.loads(answer.read(_CONFIG_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise PlatformError(f"the configuration of the image cannot be read: {error}") from error
    return document
