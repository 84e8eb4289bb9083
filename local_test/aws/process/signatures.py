"""Whether the key that a request claims signed it, as it is and now.

botocore computes what the signature must be.
"""

import datetime as dt
import functools
import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from typing import IO, Any, Final
from urllib.parse import quote, urlsplit

from botocore.auth import HmacV1Auth, S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials

from local_test.aws.process import chunks
from local_test.aws.process.claims import HINT, Claim, parse_query
from local_test.aws.protocol.messages import AwsError

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_UNSIGNED: Final = "UNSIGNED-PAYLOAD"
_SKEW_S: Final = 15 * 60
_EXPIRY_LIMIT_S: Final = 7 * 24 * 3600
_QUERY_SERVICES: Final = ("s3", "iam", "sts", "monitoring")  # they answer in XML


def check(environ: dict[str, Any], claim: Claim, secret: str | None) -> None:
    """Check that a request was signed with a secret, or refuse it if the key has none.

    A body in chunks is decoded.

    Raises: AwsError.
    """
    is_json = claim.service not in _QUERY_SERVICES
    if secret is None:
        code = "InvalidAccessKeyId" if claim.service == "s3" else "InvalidClientTokenId"
        code = "UnrecognizedClientException" if is_json else code
        raise AwsError(code, f"the access key is not one of this local AWS; {HINT}", 403)
    _check_time(claim)
    _check_signed_headers(environ, claim)
    if not hmac.compare_digest(sign(environ, claim, secret).encode(), claim.signature.encode()):
        code = "InvalidSignatureException" if is_json else "SignatureDoesNotMatch"
        raise AwsError(code, f"the signature is not that of the access key; {HINT}", 403)
    if environ.get("HTTP_X_AMZ_CONTENT_SHA256") in chunks.WORDS:
        scope = f"{claim.time[:8]}/{claim.region}/{claim.service}/aws4_request"
        key = derive_key(secret, claim)
        chunks.decode(
            environ,
            claim.signature,
            lambda algorithm, rest: _hmac(key, f"{algorithm}\n{claim.time}\n{scope}\n{rest}").hex(),
        )


def _check_time(claim: Claim) -> None:
    """Refuse a signature that is too old, or not valid yet. Raises: AwsError."""
    now = time.time()
    if claim.expires is not None:
        if claim.expires < now:
            raise AwsError("AccessDenied", "Request has expired", 403)
        if claim.version == 2:
            return
        if not 0 < claim.expires - claim.signed_s <= _EXPIRY_LIMIT_S:
            message = f"X-Amz-Expires must be from 1 to {_EXPIRY_LIMIT_S} seconds"
            raise AwsError("AuthorizationQueryParametersError", message)
        if claim.signed_s > now + _SKEW_S:
            raise AwsError("AccessDenied", "Request is not valid yet", 403)
        return
    if abs(claim.signed_s - now) > _SKEW_S:
        codes = dict.fromkeys(_QUERY_SERVICES, "SignatureDoesNotMatch")
        codes["s3"] = "RequestTimeTooSkewed"
        code = codes.get(claim.service, "InvalidSignatureException")
        found = dt.datetime.fromtimestamp(now, dt.UTC)
        message = (
            f"Signature expired: the request was signed at {claim.time!r}, which is more than "
            f"{_SKEW_S // 60} minutes from the time here, {found:%Y%m%dT%H%M%SZ}; set the clock"
        )
        raise AwsError(code, message, 403)


def _check_signed_headers(environ: Mapping[str, Any], claim: Claim) -> None:
    """Refuse a request whose signature leaves out what decides what it does. Raises: AwsError."""
    if claim.version != 4:
        return
    missing = [] if "host" in claim.signed_headers else ["host"]
    if claim.service == "s3":
        found = [name[5:].replace("_", "-").lower() for name in environ if name[:5] == "HTTP_"]
        missing += [
            name for name in found if name.startswith("x-amz-") and name not in claim.signed_headers
        ]
    if missing:
        message = f"These headers must be signed: {', '.join(sorted(missing))}"
        raise AwsError("AccessDenied", message, 403)


def derive_key(secret: str, claim: Claim) -> bytes:
    """Return the key that signs on one day, in one region, for one service."""
    return _derive(secret, claim.time[:8], claim.region, claim.service)


@functools.lru_cache(256)
def _derive(secret: str, *scope: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (*scope, "aws4_request"):
        key = _hmac(key, part)
    return key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def sign(environ: Mapping[str, Any], claim: Claim, secret: str) -> str:
    """Return the signature that a request must carry.

    Raises: AwsError XAmzContentSHA256Mismatch if the body is not the one that was signed.
    """
    credentials = Credentials(claim.access_key, secret)
    if claim.version == 2:
        return _sign_version_2(environ, claim, credentials)
    kind = S3SigV4Auth if claim.service == "s3" else SigV4Auth
    auth = kind(credentials, claim.service, claim.region)
    query = [pair for pair in parse_query(environ) if pair[0] != "X-Amz-Signature"]
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
    return _hmac(derive_key(secret, claim), text).hex()


class _DatedAuth(HmacV1Auth):  # type: ignore[misc] # botocore has no types
    """Version 2 at the time of a request, not at the present."""

    def __init__(self, credentials: Credentials, date: str) -> None:
        super().__init__(credentials)
        self._date = date

    def _get_date(self) -> str:
        return self._date


def _sign_version_2(environ: Mapping[str, Any], claim: Claim, credentials: Credentials) -> str:
    query = parse_query(environ)
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
        if claim.service == "s3" and stated in (_UNSIGNED, *chunks.WORDS):
            return str(stated)
        message = f"x-amz-content-sha256 must be a SHA-256, {_UNSIGNED} or {chunks.WORDS}"
        raise AwsError("NotImplemented" if "STREAMING" in stated else "InvalidRequest", message)
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
