"""What a request says of its signature: which key, which service, and when.

Read are version 4, in the Authorization header or in the address, and version 2, which S3 still
accepts and boto3 uses for presigned URLs.

Source: the AWS general reference, "Signature Version 4"; S3's API reference, "Authenticating
Requests".
"""

import datetime as dt
import email.utils
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

from container.errors import name_command

HINT: Final = f'run `eval "$({name_command("env")})"` in the shell of this client'
_SCOPE: Final = re.compile(r"([^/]+)/([0-9]{8})/([a-z0-9-]+)/([a-z0-9-]+)/aws4_request")
_TIME: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z")


@dataclass(frozen=True)
class Claim:
    """What a request says of its signature."""

    access_key: str
    service: str
    region: str
    signature: str
    time: str
    """When it was signed: `YYYYMMDDTHHMMSSZ`; for version 2 the Date header or the expiry."""
    signed_s: float = 0
    """The same in seconds since the epoch; 0 if it cannot be read, or is not known."""
    expires: int | None = None
    """Seconds since the epoch."""
    signed_headers: tuple[str, ...] = ()
    version: int = 4
    is_presigned: bool = False


def read(environ: Mapping[str, Any]) -> Claim | None:
    """Return the claim of a WSGI request, or None if it is not well-formed."""
    authorization = environ.get("HTTP_AUTHORIZATION", "")
    kind, _, rest = authorization.partition(" ")
    if kind == "AWS4-HMAC-SHA256":
        parts = [part.strip().partition("=") for part in rest.split(",")]
        fields = {name: value for name, _, value in parts}
        return _read_version_4(fields, environ.get("HTTP_X_AMZ_DATE", ""))
    if kind == "AWS":
        access_key, _, signature = rest.partition(":")
        other = environ.get("HTTP_X_AMZ_DATE", "")  # it is signed as all headers of its kind
        date = environ.get("HTTP_DATE", "")
        return Claim(
            access_key,
            "s3",
            "",
            signature,
            "" if other else date,
            signed_s=_parse_date(other or date),
            version=2,
        )
    query = dict(parse_query(environ))
    if "X-Amz-Credential" in query:
        fields = {name.removeprefix("X-Amz-"): value for name, value in query.items()}
        return _read_version_4(fields, query.get("X-Amz-Date", ""))
    if "AWSAccessKeyId" not in query:
        return None
    expires = query.get("Expires", "")
    return Claim(
        query["AWSAccessKeyId"],
        "s3",
        "",
        query.get("Signature", ""),
        expires,
        expires=_read_number(expires),
        version=2,
        is_presigned=True,
    )


def _read_version_4(fields: Mapping[str, str], signed_at: str) -> Claim | None:
    scope = _SCOPE.fullmatch(fields.get("Credential", ""))
    if scope is None or not _TIME.fullmatch(signed_at):
        return None
    access_key, _, region, service = scope.groups()
    expires = None
    if "Expires" in fields:
        expires = _to_epoch(signed_at) + _read_number(fields["Expires"])
    return Claim(
        access_key,
        service,
        region,
        fields.get("Signature", ""),
        signed_at,
        signed_s=_to_epoch(signed_at),
        expires=expires,
        signed_headers=tuple(fields.get("SignedHeaders", "").split(";")),
        is_presigned="Algorithm" in fields,
    )


def parse_query(environ: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the names and values of the address, decoded, in their order."""
    pairs = environ.get("QUERY_STRING", "").split("&")
    parts = [pair.partition("=") for pair in pairs if pair]
    return [(unquote(name), unquote(value)) for name, _, value in parts]


def _parse_date(text: str) -> float:
    """Return the time of a Date header, or of `x-amz-date`, in seconds since the epoch; or 0."""
    if _TIME.fullmatch(text):
        return _to_epoch(text)
    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return 0


def _read_number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 12 else 0


def _to_epoch(text: str) -> int:
    try:
        return int(dt.datetime.fromisoformat(text).timestamp())
    except ValueError:
        return 0
