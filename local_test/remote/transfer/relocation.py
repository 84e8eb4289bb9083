"""A local request as the account needs it: the same, but for places, image, role and tags."""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from container.errors import UserError
from local_test.remote.access import PREFIX, TAG
from local_test.remote.transfer import uploads
from local_test.remote.transfer.uploads import Upload
from local_test.requests import shorthand

_IMAGES: Final = frozenset({"TrainingImage", "ImageUri", "Image"})
_ROLES: Final = frozenset({"RoleArn", "ExecutionRoleArn"})
_OUTPUTS_OF_TRAINING: Final = ("OutputDataConfig", "S3OutputPath")
_OUTPUTS: Final = frozenset({_OUTPUTS_OF_TRAINING, ("S3Output", "S3Uri")})
_OUTPUTS_OF_TRANSFORM: Final = ("TransformOutput", "S3OutputPath")
_INPUTS: Final = frozenset({("S3DataSource", "S3Uri"), ("S3Input", "S3Uri")})
_OF_USER: Final = frozenset({"Environment", "HyperParameters", "StaticHyperParameters", "Tags"})
"""Members whose keys are the user's own words."""
_TAGGED: Final = frozenset(
    {
        "CreateTrainingJob",
        "CreateProcessingJob",
        "CreateTransformJob",
        "CreateHyperParameterTuningJob",
        "CreateModel",
        "CreateEndpointConfig",
        "CreateEndpoint",
    }
)


@dataclass
class Relocation:
    """Rewrites requests for one run; what it met is in `uploads`, `downloads` and `images`."""

    bucket: str
    role: str
    verb: str
    """The command, for the tag."""
    name: str
    """The name of the job or endpoint, below which outputs are stored."""
    image: Callable[[str], str]
    """Returns the URI in ECR of an image that a request names."""
    uploads: dict[str, Upload] = field(default_factory=dict)
    """By the URI in the local request."""
    downloads: dict[str, str] = field(default_factory=dict)
    """Where on this disk the objects of a prefix belong, by the prefix in the bucket."""

    def rewrite(self, operation: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return the request that the account gets.

        Raises: UserError if a local place has no counterpart on AWS.
        """
        request: dict[str, Any] = copy.deepcopy(dict(fields))
        for parent, owner, key in _walk(request, ""):
            value = owner[key]
            if key in _ROLES and value == shorthand.ROLE:
                owner[key] = self.role
            elif key in _IMAGES:
                owner[key] = self.image(value)
            elif isinstance(value, str) and value.startswith("file://"):
                is_tuning = operation == "CreateHyperParameterTuningJob"
                if is_tuning and (parent, key) == _OUTPUTS_OF_TRAINING:
                    owner[key] = self._share(value)
                else:
                    owner[key] = self._move(parent, owner, key)
        if operation in _TAGGED:
            tags = [tag for tag in request.get("Tags", ()) if tag["Key"] != TAG]
            request["Tags"] = [*tags, {"Key": TAG, "Value": self.verb}]
        return request

    def _move(self, parent: str, owner: Mapping[str, Any], key: str) -> str:
        uri = str(owner[key])
        place = (parent, key)
        if place == _OUTPUTS_OF_TRANSFORM:
            return self._expect(f"{PREFIX}jobs/{self.name}/output", uri)
        if place in _OUTPUTS:
            if parent == "OutputDataConfig":
                self._expect(f"{PREFIX}jobs/{self.name}", f"{uri.rstrip('/')}/{self.name}")
                return f"s3://{self.bucket}/{PREFIX}jobs"
            name = owner["LocalPath"].rstrip("/").rpartition("/")[2]
            return self._expect(f"{PREFIX}jobs/{self.name}/{name}", uri)
        is_prefix = owner.get("S3DataType", "S3Prefix") == "S3Prefix"
        if key == "ModelDataUrl" or (place in _INPUTS and is_prefix):
            if uri not in self.uploads:
                self.uploads[uri] = uploads.plan(self.bucket, uri)
            return self.uploads[uri].uri
        raise UserError(
            f"{parent}.{key} is {uri}, which AWS cannot read; store it in S3, and name its s3:// "
            "URI"
        )

    def _share(self, uri: str) -> str:
        """Return where all training jobs of a definition of a tuning job store below."""
        taken = [prefix for prefix, place in self.downloads.items() if place == uri]
        if taken:
            return f"s3://{self.bucket}/{taken[0]}".rstrip("/")
        folder = f"/output-{len(self.downloads) + 1}" if self.downloads else ""
        return self._expect(f"{PREFIX}jobs/{self.name}{folder}", uri)

    def _expect(self, prefix: str, uri: str) -> str:
        self.downloads[f"{prefix}/"] = uri
        return f"s3://{self.bucket}/{prefix}"


def _walk(node: Any, name: str) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield every member of every object: the name of the object, the object, the member's key."""
    if isinstance(node, list):
        for item in node:
            yield from _walk(item, name)
    elif isinstance(node, dict):
        for key in list(node):
            if isinstance(node[key], dict | list):
                if key not in _OF_USER:
                    yield from _walk(node[key], key)
            else:
                yield name, node, key
