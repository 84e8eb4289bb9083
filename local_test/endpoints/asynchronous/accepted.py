"""Asynchronous requests that were accepted: what they ask for, and what is kept of them (ASY-1)."""

import base64
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from container.errors import RequestError
from local_test.endpoints import invocation_members
from local_test.endpoints.invocation import HEADER_PREFIX

_TTL_S: Final = 21_600  # of a request that does not say; so is the next
_LIMIT_S: Final = 900
_PER_INSTANCE: Final = 4  # requests at the same time, if the configuration does not say


@dataclass(frozen=True)
class Options:
    """What a request says about its place in the queue and its answer."""

    identity: str
    name: str
    """Of the answer's object, below the output path."""
    ttl_s: int
    """How long it may wait in the queue."""
    limit_s: int
    """How long the container may take."""

    @classmethod
    def read(cls, headers: Mapping[str, str]) -> Self:
        """Read headers whose names are in lower case.

        Raises: RequestError 400 for a value that the API does not accept.
        """
        invocation_members.admit("InvokeEndpointAsync", headers)
        identity = headers.get(HEADER_PREFIX + "inference-id") or str(uuid.uuid4())
        name = headers.get(HEADER_PREFIX + "filename", f"{identity}.out")
        extension = headers.get(HEADER_PREFIX + "s3outputpathextension", "")
        for label, path in (("inference ID", identity), ("S3OutputPathExtension", extension)):
            if ".." in path.split("/"):
                message = f"the {label} {path!r} would name an object elsewhere (ASY-1)"
                raise RequestError(400, message)
        if extension:
            name = f"{extension.strip('/')}/{name}"
        ttl_s = int(headers.get(HEADER_PREFIX + "requestttlseconds", _TTL_S))
        limit_s = int(headers.get(HEADER_PREFIX + "invocationtimeoutseconds", _LIMIT_S))
        return cls(identity, name, ttl_s, limit_s)


@dataclass(frozen=True)
class Accepted:
    """A request whose sender has the receipt."""

    key: str
    """Unique, as inference IDs need not be."""
    config: Mapping[str, Any]
    """The AsyncInferenceConfig by which it was accepted."""
    source: str | bytes
    """The URI of its object, or its body."""
    headers: Mapping[str, str]
    """Names in lower case."""
    options: Options
    received_s: float
    """Seconds since the epoch: the time that it may wait goes on while no process runs."""

    @classmethod
    def make(
        cls,
        config: Mapping[str, Any],
        source: str | bytes,
        headers: Mapping[str, str],
        received_s: float,
    ) -> Self:
        """Accept a request. Raises: RequestError 400 if a header is wrong."""
        lowered = {name.lower(): value for name, value in headers.items()}
        return cls(uuid.uuid4().hex, config, source, lowered, Options.read(lowered), received_s)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Return the request that `to_record` was called on."""
        members = {name: record[name] for name in ("key", "config", "headers", "received_s")}
        source = record["uri"] or base64.b64decode(record["body"])
        return cls(**members, source=source, options=Options(**record["options"]))

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON values."""
        uri = self.source if isinstance(self.source, str) else ""
        body = self.source if isinstance(self.source, bytes) else b""
        return {
            **{name: getattr(self, name) for name in ("key", "config", "headers", "received_s")},
            "options": asdict(self.options),
            "uri": uri,
            "body": base64.b64encode(body).decode(),
        }

    @property
    def per_instance(self) -> int:
        """How many requests an instance gets at the same time."""
        client = self.config.get("ClientConfig", {})
        return int(client.get("MaxConcurrentInvocationsPerInstance", _PER_INSTANCE))

    @property
    def receipt(self) -> dict[str, str]:
        """What the sender is told."""
        outputs = self.config["OutputConfig"]["S3OutputPath"]
        failures = self.config["OutputConfig"].get("S3FailurePath", outputs)
        identity = self.options.identity
        return {
            "InferenceId": identity,
            "OutputLocation": f"{outputs.rstrip('/')}/{self.options.name}",
            "FailureLocation": f"{failures.rstrip('/')}/{identity}-error.out",
        }

    def is_expired(self, now_s: float) -> bool:
        """Return whether it waited too long."""
        return now_s > self.received_s + self.options.ttl_s


class Journal:
    """What was accepted and is not answered; this one forgets it with its process."""

    def keep(self, accepted: Accepted) -> None:
        """Keep a request until it is dropped. Raises: DiskError if it cannot be kept."""

    def drop(self, accepted: Accepted) -> None:
        """Forget a request that was answered."""

    def read(self) -> Iterable[Accepted]:
        """Return what an earlier process kept, oldest first."""
        return ()

    def is_closing(self) -> bool:
        """Return whether requests that have not begun are left to the next process."""
        return False
