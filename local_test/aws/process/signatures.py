"""AWS signatures: which key and service a request claims, and whether that key signed it.

Read are version 4, in the Authorization header or in the address, and version 2, which S3 still
accepts and boto3 uses for presigned URLs. botocore computes what the signature must be.

Source: the AWS general reference, "Signature Version 4"; S3's API reference, "Authenticating
Requests".
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any, Final
from urllib.parse import quote, unquote, urlsplit

from botocore.auth import HmacV1Auth, S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials

from local_test.aws.protocol.messages import AwsError

_SCOPE: Final = re.compile(r"([^/]+)/([0-9]{8})/([a-z0-9-]+)/([a-z0-9-]+)/aws4_request")
_TIME: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_UNSIGNED: Final = "UNSIGNED-PAYLOAD"
HINT: Final = 'run `eval "$(python -m local_test env)"` in the shell of this client'
_QUERY_SERVICES: Final = ("s3", "iam", "sts", "monitoring")  # they answer in XML


@dataclass(frozen=True)
class Claim:
    """What a request says of its signature."""

    access_key: str
    service: str
    region: str
    signature: str
    time: str
    """When it was signed: `YYYYMMDDTHHMMSSZ`; for version 2 the Date header or the expiry."""
    expires: int | None = None
    """Seconds since the epoch."""
    signed_headers: tuple[str, ...] = ()
    version: int = 4
    is_presigned: bool = False


def read(environ: Mapping[str, Any]) -> Claim | None:
    """Return the claim of a WSGI request, or None if there is none that is well-formed."""
    authorization = environ.get("HTTP_AUTHORIZATION", "")
    kind, _, rest = authorization.partition(" ")
    if kind == "AWS4-HMAC-SHA256":
        parts = [part.strip().partition("=") for part in rest.split(",")]
        fields = {name: value for name, _, value in parts}
        return _read_version_4(fields, environ.get("HTTP_X_AMZ_DATE", ""))
    if kind == "AWS":
        access_key, _, signature = rest.partition(":")
        date = environ.get("HTTP_DATE", "") if "HTTP_X_AMZ_DATE" not in environ else ""
        return Claim(access_key, "s3", "", signature, date, version=2)
    query = dict(_parse_query(environ))
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
        expires=expires,
        signed_headers=tuple(fields.get("SignedHeaders", "").split(";")),
        is_presigned="Algorithm" in fields,
    )


def check(environ: Mapping[str, Any], claim: Claim, secret: str | None) -> None:
    """Check that a request was signed with a secret, or refuse it if the key has none.

    Raises: AwsError.
    """
    is_json = claim.service not in _QUERY_SERVICES
    if secret is None:
        code = "InvalidAccessKeyId" if claim.service == "s3" else "InvalidClientTokenId"
        code = "UnrecognizedClientException" if is_json else code
        raise AwsError(code, f"the access key is not one of this local AWS; {HINT}", 403)
    if claim.expires is not None and claim.expires < time.time():
        raise AwsError("AccessDenied", "Request has expired", 403)
    if not hmac.compare_digest(sign(environ, claim, secret).encode(), claim.signature.encode()):
        code = "InvalidSignatureException" if is_json else "SignatureDoesNotMatch"
        message = f"the signature is not that of the access key; {HINT}"
        raise AwsError(code, message, 403)


def sign(environ: Mapping[str, Any], claim: Claim, secret: str) -> str:
    """Return the signature that a request must carry.

    Raises: AwsError XAmzContentSHA256Mismatch if the body is not the one that was signed.
    """
    credentials = Credentials(claim.access_key, secret)
    if claim.version == 2:
        return _sign_version_2(environ, claim, credentials)
    kind = S3SigV4Auth if claim.service == "s3" else SigV4Auth
    auth = kind(credentials, claim.service, claim.region)
    query = [pair for pair in _parse_query(environ) if pair[0] != "X-Amz-Signature"]
    request = AWSRequest(environ["REQUEST_METHOD"], "http://localhost/", params=query)
    request.context["timestamp"] = claim.time
    headers = HTTPHeaders()
    for name in claim.signed_headers:
        headers[name] = _find_header(environ, name)
    canonical = [
        environ["REQUEST_METHOD"],
        auth._normalize_url_path(_find_path(environ)),  # noqa: SLF001 - differs between services
        auth.canonical_query_string(request),
        auth.canonical_headers(headers) + "\n",
        auth.signed_headers(headers),
        _hash_payload(environ, claim, dict(query)),
    ]
    text = auth.string_to_sign(request, "\n".join(canonical))
    return str(auth.signature(text, request))


class _DatedAuth(HmacV1Auth):  # type: ignore[misc] # botocore has no types
    """Version 2 at the time of a request, not at the present."""

    def __init__(self, credentials: Credentials, date: str) -> None:
        super().__init__(credentials)
        self._date = date

    def _get_date(self) -> str:
        return self._date


def _sign_version_2(environ: Mapping[str, Any], claim: Claim, credentials: Credentials) -> str:
    query = _parse_query(environ)
    found = {name.lower(): value for name, value in query if claim.is_presigned}
    found |= {
        name.removeprefix("HTTP_").replace("_", "-").lower(): str(value)
        for name, value in environ.items()
        if name.startswith("HTTP_") or name == "CONTENT_TYPE"
    }
    headers = HTTPHeaders()
    for name, value in found.items():
        if name.startswith("x-amz-") or name in ("content-type", "content-md5"):
            headers[name] = value
    split = urlsplit("http://localhost/?" + environ.get("QUERY_STRING", ""))
    auth = _DatedAuth(credentials, claim.time)
    path = _find_path(environ)
    return str(auth.get_signature(environ["REQUEST_METHOD"], split, headers, auth_path=path))


def _hash_payload(environ: Mapping[str, Any], claim: Claim, query: Mapping[str, str]) -> str:
    """Return the hash of the body as it was signed, or the word that replaces it.

    Raises: AwsError XAmzContentSHA256Mismatch.
    """
    stated = environ.get("HTTP_X_AMZ_CONTENT_SHA256") or query.get("X-Amz-Content-Sha256", "")
    if not stated and claim.service == "s3" and claim.is_presigned:
        stated = _UNSIGNED
    if stated and not _SHA256.fullmatch(stated):
        return str(stated)  # S3's words for a body that is not signed, or signed in chunks
    found = _hash(environ["wsgi.input"])
    if stated and stated != found:
        message = "The provided 'x-amz-content-sha256' header does not match what was computed."
        raise AwsError("XAmzContentSHA256Mismatch", message)
    return found


def _hash(stream: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while piece := stream.read(1024 * 1024):
        digest.update(piece)
    stream.seek(0)  # the HTTP server keeps the body, so that it can be read again
    return digest.hexdigest()


def _find_header(environ: Mapping[str, Any], name: str) -> str:
    key = name.upper().replace("-", "_")
    if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        key = f"HTTP_{key}"
    return str(environ.get(key, "")).encode("latin-1", "replace").decode("utf-8", "replace")


def _find_path(environ: Mapping[str, Any]) -> str:
    """Return the path as it was sent."""
    address = environ.get("REQUEST_URI") or quote(environ["PATH_INFO"], encoding="latin-1")
    path: str = address.partition("?")[0]
    return path if path.startswith("/") else urlsplit(path).path


def _parse_query(environ: Mapping[str, Any]) -> list[tuple[str, str]]:
    pairs = environ.get("QUERY_STRING", "").split("&")
    parts = [pair.partition("=") for pair in pairs if pair]
    return [(unquote(name), unquote(value)) for name, _, value in parts]


def _read_number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 12 else 0


def _to_epoch(text: str) -> int:
    try:
        moment = dt.datetime.strptime(f"{text}+0000", "%Y%m%dT%H%M%SZ%z")
    except ValueError:
        return 0
    return int(moment.timestamp())
