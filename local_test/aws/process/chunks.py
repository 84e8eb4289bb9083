"""Bodies that S3's clients send in chunks (`aws-chunked`): checked, and decoded once.

Each chunk carries a signature that continues the one before, from the request's own; a trailer
carries a checksum and, if the chunks are signed, a signature.

Source: S3's API reference, "Signature Calculations for the Authorization Header: Transferring
Payload in Multiple Chunks" and "… with trailing headers".
"""

import base64
import hashlib
import hmac
import re
import tempfile
from collections.abc import Callable, Mapping
from typing import IO, Any, Final, NoReturn

from botocore import httpchecksum

from local_test.aws.protocol.messages import AwsError

_SIGNED: Final = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
_UNSIGNED: Final = "STREAMING-UNSIGNED-PAYLOAD"
_TRAILER: Final = "-TRAILER"
WORDS: Final = (_SIGNED, _SIGNED + _TRAILER, _UNSIGNED + _TRAILER)
"""What `x-amz-content-sha256` says of a body in chunks."""
_CHUNK: Final = re.compile(rb"([0-9a-fA-F]{1,12})(?:;chunk-signature=([0-9a-f]{64}))?")
_EMPTY: Final = hashlib.sha256(b"").hexdigest()
_LINE_BYTES: Final = 8192
_PIECE_BYTES: Final = 1024 * 1024
_SPOOL_BYTES: Final = 16 * 1024 * 1024

Sign = Callable[[str, str], str]
"""Signs the algorithm's name and the last lines of a string to sign."""


def decode(environ: dict[str, Any], seed: str, sign: Sign) -> None:
    """Replace a body in chunks by what it says, if all of it is as it was signed.

    `seed` is the signature of the request.

    Raises: AwsError.
    """
    word = environ["HTTP_X_AMZ_CONTENT_SHA256"]
    body = _Body(environ["wsgi.input"], seed if word.startswith(_SIGNED) else "", sign)
    decoded: IO[bytes] = tempfile.SpooledTemporaryFile(_SPOOL_BYTES)  # noqa: SIM115 - the request's
    try:
        while body.read_chunk(decoded):
            pass
        stated = environ.get("HTTP_X_AMZ_DECODED_CONTENT_LENGTH", "")
        if stated != str(decoded.tell()):
            _refuse(f"x-amz-decoded-content-length is {stated!r}, found {decoded.tell()} bytes")
        if word.endswith(_TRAILER):
            _check_trailer(body.read_trailer(), decoded, environ)
    except BaseException:
        decoded.close()
        raise
    environ["CONTENT_LENGTH"] = stated
    environ["HTTP_X_AMZ_CONTENT_SHA256"] = "UNSIGNED-PAYLOAD"  # it is checked, and as it is
    decoded.seek(0)
    environ["wsgi.input"] = decoded


class _Body:
    """The chunks of one body, read in their order."""

    def __init__(self, stream: IO[bytes], signature: str, sign: Sign) -> None:
        """`signature` is that of the request; empty if the chunks are not signed."""
        self._stream = stream
        self._signature = signature
        self._sign = sign

    def read_chunk(self, target: IO[bytes]) -> bool:
        """Copy one chunk to `target`; return False at the end. Raises: AwsError."""
        head = _CHUNK.fullmatch(self._read_line())
        if head is None or bool(head.group(2)) != bool(self._signature):
            _refuse("the head of a chunk is not as S3 describes it")
        left = size = int(head.group(1), 16)
        digest = hashlib.sha256()
        while left:
            piece = self._stream.read(min(left, _PIECE_BYTES))
            if not piece:
                _refuse("it ends within a chunk")
            digest.update(piece)
            target.write(piece)
            left -= len(piece)
        if self._signature:
            rest = f"{self._signature}\n{_EMPTY}\n{digest.hexdigest()}"
            self._continue("AWS4-HMAC-SHA256-PAYLOAD", rest, head.group(2).decode())
        if size and self._stream.read(2) != b"\r\n":
            _refuse("a chunk is longer than its head says")
        return size > 0

    def read_trailer(self) -> dict[str, str]:
        """Return the fields after the last chunk. Raises: AwsError."""
        fields: dict[str, str] = {}
        signature = ""
        while True:
            line = self._read_line(is_last=bool(signature))
            name, colon, value = line.strip(b"\n").decode("latin-1").partition(":")
            if name == "x-amz-trailer-signature":
                signature = value
            elif colon:
                fields[name.lower()] = value.strip()
            elif signature or not self._signature:
                break
        if self._signature:
            text = "".join(f"{name}:{fields[name]}\n" for name in sorted(fields))
            rest = f"{self._signature}\n{hashlib.sha256(text.encode('latin-1')).hexdigest()}"
            self._continue("AWS4-HMAC-SHA256-TRAILER", rest, signature)
        return fields

    def _continue(self, algorithm: str, rest: str, found: str) -> None:
        self._signature = self._sign(algorithm, rest)
        if not hmac.compare_digest(self._signature, found):
            message = "the signature of a chunk is not that of the access key"
            raise AwsError("SignatureDoesNotMatch", message, 403)

    def _read_line(self, *, is_last: bool = False) -> bytes:
        line = self._stream.readline(_LINE_BYTES)
        if not line.endswith(b"\n") and not (is_last and not line):
            _refuse("it ends within a line")
        return line.removesuffix(b"\n").removesuffix(b"\r")


def _check_trailer(fields: Mapping[str, str], decoded: IO[bytes], environ: dict[str, Any]) -> None:
    """Check the announced checksums, and hand them on as headers. Raises: AwsError."""
    announced = environ.get("HTTP_X_AMZ_TRAILER", "").lower().split(",")
    for name in filter(None, map(str.strip, announced)):
        if name not in fields:
            _refuse(f"the trailer {name!r} that it announces is missing")
        algorithm = name.removeprefix("x-amz-checksum-")
        if algorithm in httpchecksum._SUPPORTED_CHECKSUM_ALGORITHMS:  # noqa: SLF001 - as below
            _check_sum(algorithm, fields[name], decoded)
        environ["HTTP_" + name.upper().replace("-", "_")] = fields[name]


def _check_sum(algorithm: str, stated: str, decoded: IO[bytes]) -> None:
    checksum = httpchecksum._CHECKSUM_CLS[algorithm]()  # noqa: SLF001 - as boto3 computes it
    decoded.seek(0)
    while piece := decoded.read(_PIECE_BYTES):
        checksum.update(piece)
    if base64.b64encode(checksum.digest()).decode() != stated:
        raise AwsError("BadDigest", f"the {algorithm} in the trailer is not that of the body")


def _refuse(what: str) -> NoReturn:
    raise AwsError("IncompleteBody", f"the body is not valid aws-chunked: {what}")
