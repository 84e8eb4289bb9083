"""Bodies in chunks: the examples of S3's documentation, and what is not as it was signed."""

from __future__ import annotations

import base64
import io
import zlib
from typing import Any

import pytest
from botocore.httpchecksum import AwsChunkedWrapper, Crc32Checksum

from local_test.aws.process import chunks, signatures
from local_test.aws.process.claims import Claim
from local_test.aws.protocol.messages import AwsError

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"  # noqa: S105 - the documentation's
TIME = "20130524T000000Z"
SCOPE = "20130524/us-east-1/s3/aws4_request"
KEY = signatures.derive_key(SECRET, Claim("AKIAIOSFODNN7EXAMPLE", "s3", "us-east-1", "", TIME))
BODY = b"a" * 66560
SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
PLAIN_SEED = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
PLAIN = (
    "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
    "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
    "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
)
TRAILER_SEED = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"
WITH_TRAILER = (
    "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
    "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
    "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
)
TRAILER_SIGNATURE = "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435"
Field = tuple[str, str]


def join(signatures: tuple[str, ...], body: bytes = BODY) -> bytes:
    """Return chunks of 64 kB, with the signatures of the documentation."""
    parts = [body[:65536], body[65536:], b""]
    lines = [
        f"{len(part):x};chunk-signature={signature}\r\n".encode() + part + b"\r\n"
        for part, signature in zip(parts, signatures, strict=True)
    ]
    return b"".join(lines)


def decode(
    body: bytes, seed: str, word: str = SIGNED, length: int = len(BODY), **headers: str
) -> tuple[bytes, dict[str, Any]]:
    environ = {
        "HTTP_X_AMZ_CONTENT_SHA256": word,
        "HTTP_X_AMZ_DECODED_CONTENT_LENGTH": str(length),
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
        **headers,
    }

    def sign(algorithm: str, rest: str) -> str:
        text = f"{algorithm}\n{TIME}\n{SCOPE}\n{rest}"
        return signatures._hmac(KEY, text).hex()  # noqa: SLF001 - one HMAC

    chunks.decode(environ, seed, sign)
    with environ["wsgi.input"] as decoded:  # type: ignore[union-attr]
        return decoded.read(), environ


def refuse(*arguments: Any, **headers: Any) -> str:
    with pytest.raises(AwsError) as caught:
        decode(*arguments, **headers)
    return caught.value.code


def test_the_example_of_the_documentation_is_accepted() -> None:
    found, environ = decode(join(PLAIN), PLAIN_SEED)
    assert found == BODY
    assert environ["CONTENT_LENGTH"] == "66560"
    assert environ["HTTP_X_AMZ_CONTENT_SHA256"] == "UNSIGNED-PAYLOAD"


TRAILER = f"x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:{TRAILER_SIGNATURE}\r\n\r\n"


@pytest.mark.parametrize("trailer", [TRAILER, TRAILER.replace("==\r\n", "==\n\r\n")])
def test_the_example_with_a_trailer_is_accepted(trailer: str) -> None:
    body = join(WITH_TRAILER).removesuffix(b"\r\n") + trailer.encode()
    found, environ = decode(
        body, TRAILER_SEED, SIGNED + "-TRAILER", HTTP_X_AMZ_TRAILER="x-amz-checksum-crc32c"
    )
    assert found == BODY
    assert environ["HTTP_X_AMZ_CHECKSUM_CRC32C"] == "sOO8/Q=="
    for change in ((b"sOO8", b"sOO9"), (b"d81f82fc", b"d81f82fd"), (b"x-amz-trailer-s", b"x-s")):
        code = refuse(body.replace(*change), TRAILER_SEED, SIGNED + "-TRAILER")
        assert code in ("SignatureDoesNotMatch", "IncompleteBody")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (join(PLAIN, b"b" + BODY[1:]), "SignatureDoesNotMatch"),
        (join(PLAIN, BODY[:-1] + b"b"), "SignatureDoesNotMatch"),
        (join((PLAIN[1], PLAIN[0], PLAIN[2])), "SignatureDoesNotMatch"),
        (join((PLAIN[0], PLAIN[1], PLAIN[1])), "SignatureDoesNotMatch"),
        (join(PLAIN)[:-90], "IncompleteBody"),
        (join(PLAIN)[:1000], "IncompleteBody"),
        (b"", "IncompleteBody"),
        (b"5\r\nhello\r\n0\r\n\r\n", "IncompleteBody"),
        (b"10400;chunk-signature=x\r\n" + BODY, "IncompleteBody"),
        (b"x" * 100_000, "IncompleteBody"),
        (b"-1;chunk-signature=" + b"0" * 64 + b"\r\n", "IncompleteBody"),
        (b"f" * 5000 + b"\r\n", "IncompleteBody"),
    ],
)
def test_what_was_not_signed_is_refused(body: bytes, code: str) -> None:
    assert refuse(body, PLAIN_SEED) == code


def test_a_stated_length_that_is_wrong_is_refused() -> None:
    assert refuse(join(PLAIN), PLAIN_SEED, SIGNED, 66559) == "IncompleteBody"


@pytest.mark.parametrize("size", [0, 1, 3_000_000])
def test_the_trailer_that_boto3_sends_is_checked(size: int) -> None:
    content = bytes(size)
    sent = AwsChunkedWrapper(
        io.BytesIO(content), checksum_cls=Crc32Checksum, checksum_name="x-amz-checksum-crc32"
    ).read()
    word = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    names = {"HTTP_X_AMZ_TRAILER": "x-amz-checksum-crc32"}
    found, environ = decode(sent, "", word, size, **names)
    assert found == content
    stated = base64.b64encode(zlib.crc32(content).to_bytes(4)).decode()
    assert environ["HTTP_X_AMZ_CHECKSUM_CRC32"] == stated
    wrong = sent.replace(stated.encode(), b"AAAAAB==")
    assert refuse(wrong, "", word, size, **names) == "BadDigest"
    missing = sent.replace(b"x-amz-checksum-crc32", b"x-amz-checksum-other")
    assert refuse(missing, "", word, size, **names) == "IncompleteBody"
