"""Whose turn it is on S3's keys and buckets: requests that would disturb each other wait.

A request claims everything that it needs at once, in order of arrival, so no two requests wait for
each other, and none waits forever.
"""

import contextlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import parse_qs, unquote
from xml.etree import ElementTree as ET

from local_test.aws.protocol.messages import read_body

Mode = Literal["read", "write", "alone"]
"""Requests that share a name do so in the same mode, unless it is `alone`."""
Claims = Mapping[str, Mode]

_READS: Final = ("GET", "HEAD", "OPTIONS")
_ALL_BUCKETS: Final = ""


@dataclass(frozen=True)
class Target:
    """What a request of S3 is about."""

    method: str
    bucket: str
    key: str
    query: Mapping[str, Any]
    deleted: frozenset[str] = field(default_factory=frozenset)
    """The keys of DeleteObjects."""
    source: str = ""
    """BUCKET/KEY that is copied."""

    @property
    def is_read(self) -> bool:
        """Whether it changes nothing."""
        return self.method in _READS

    @property
    def is_part(self) -> bool:
        """Whether it uploads a part, which is not an object yet."""
        return "partNumber" in self.query and not self.is_read

    @property
    def keys(self) -> frozenset[str]:
        """The keys whose objects it may change."""
        if self.is_read or self.is_part:
            return frozenset()
        return frozenset([self.key] if self.key else self.deleted)

    @property
    def completed_upload(self) -> str:
        """The upload whose parts it joins, or an empty string."""
        if self.method != "POST":
            return ""
        return str(self.query.get("uploadId", [""])[0])

    def claims(self) -> dict[str, Mode]:
        """Return what it needs: keys are BUCKET/KEY, and a bucket is also its list of keys."""
        if self.is_read:
            name = f"{self.bucket}/{self.key}" if self.key else self.bucket
            return {name: "read"}
        found: dict[str, Mode] = {}
        if self.source:
            found[self.source] = "read"
        if self.is_part:
            return found
        if not self.key and not self.deleted:
            return {self.bucket: "alone", _ALL_BUCKETS: "write"}
        found[self.bucket] = "write"
        found.update(dict.fromkeys((f"{self.bucket}/{key}" for key in self.keys), "alone"))
        return found


def find_source(header: str) -> str:
    """Return BUCKET/KEY of an `x-amz-copy-source` header."""
    return unquote(header.partition("?")[0]).lstrip("/")


class Turns:
    """The claims of all requests, in order of arrival; of a finished request they are gone."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._queue: list[Claims] = []

    @contextlib.contextmanager
    def take(self, claims: Claims) -> Iterator[None]:
        """Wait until no earlier request is in the way, and keep later ones waiting meanwhile."""
        mine = dict(claims)
        with self._changed:
            self._queue.append(mine)
            self._changed.wait_for(lambda: self._is_next(mine))
        try:
            yield
        finally:
            with self._changed:
                self._queue = [claims for claims in self._queue if claims is not mine]
                self._changed.notify_all()

    def _is_next(self, mine: Claims) -> bool:
        for claims in self._queue:
            if claims is mine:
                return True
            if _clash(claims, mine):
                return False
        return False


def _clash(one: Claims, other: Claims) -> bool:
    return any(
        name in other and (mode == "alone" or mode != other[name]) for name, mode in one.items()
    )


def read_target(environ: dict[str, Any]) -> Target:
    """Return what a WSGI request is about."""
    path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace").lstrip("/")
    bucket, _, key = path.partition("/")
    query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    deleted: frozenset[str] = frozenset()
    if environ["REQUEST_METHOD"] == "POST" and "delete" in query and not key:
        deleted = _read_deleted_keys(environ)
    source = find_source(environ.get("HTTP_X_AMZ_COPY_SOURCE", ""))
    return Target(environ["REQUEST_METHOD"], bucket, key, query, deleted, source)


def _read_deleted_keys(environ: dict[str, Any]) -> frozenset[str]:
    """Return the keys of a DeleteObjects request; moto checks the request itself."""
    with contextlib.suppress(ET.ParseError):
        root = ET.fromstring(read_body(environ))  # noqa: S314 - expat bounds entities
        return frozenset(
            item.text or "" for item in root.iter() if item.tag.rpartition("}")[2] == "Key"
        )
    return frozenset()
