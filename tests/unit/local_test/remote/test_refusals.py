"""Each way in which AWS can refuse is one sentence, raised by whose fault it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest
from boto3.exceptions import RetriesExceededError, S3UploadFailedError

from container.errors import PlatformError, UserError
from local_test.remote import refusals


def refuse(
    code: str, message: str = "it says\n why.", status: int = 400
) -> botocore.exceptions.ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return botocore.exceptions.ClientError(response, "CreateTrainingJob")


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (refuse("ExpiredToken"), UserError, "credentials have expired"),
        (refuse("SignatureDoesNotMatch"), UserError, "clock"),
        (refuse("AccessDenied"), UserError, "may not call CreateTrainingJob: it says why; see"),
        (refuse("SlowDown"), PlatformError, "still throttles CreateTrainingJob"),
        (
            refuse("InternalFailure", status=500),
            PlatformError,
            r"AWS fails at CreateTrainingJob \(InternalFailure\): it says why; try again in some",
        ),
        (refuse("RequestTimeTooSkewed", status=403), UserError, "this machine's clock differs"),
        (
            refuse("InvalidSignatureException", "Signature expired: 20260101T000000Z is earlier"),
            UserError,
            "this machine's clock differs",
        ),
        (RetriesExceededError(OSError("cut")), PlatformError, "cannot be reached: cut; try again"),
        (refuse("ResourceLimitExceeded"), UserError, "quota of the account is reached"),
        (refuse("ResourceInUse"), UserError, r"refuses CreateTrainingJob \(ResourceInUse\): it"),
        (botocore.exceptions.NoCredentialsError(), UserError, "no AWS credentials; run"),
        (
            botocore.exceptions.ProfileNotFound(profile="x"),
            UserError,
            "has no profile 'x'; it has: mine, yours",
        ),
        (botocore.exceptions.UnauthorizedSSOTokenError(), UserError, "sign-in has expired"),
        (
            botocore.exceptions.ConnectTimeoutError(endpoint_url="https://x"),
            PlatformError,
            "cannot be reached: .* check the network",
        ),
    ],
)
def test_an_error_is_one_sentence(
    error: Exception,
    kind: type[Exception],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "config").write_text("[profile mine]\n[profile yours]\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(kind, match=words) as caught, refusals.explaining():
        raise error
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        ("AccessDenied", UserError, "may not call"),
        ("SlowDown", PlatformError, "still throttles"),
        ("NoSuchBucket", UserError, r"AWS refuses CreateTrainingJob \(NoSuchBucket\)"),
    ],
)
def test_an_upload_is_explained_by_its_cause(code: str, kind: type[Exception], words: str) -> None:
    def upload() -> None:
        try:
            raise refuse(code)
        except botocore.exceptions.ClientError as error:
            raise S3UploadFailedError(str(error)) from error

    with pytest.raises(kind, match=words), refusals.explaining():
        upload()


def test_missing_and_ended_are_told_apart_from_other_validation_errors() -> None:
    missing = refuse("ValidationException", "Could not find model x")
    ended = refuse("ValidationException", "The request was rejected: in status Stopped.")
    other = refuse("ValidationException", "1 validation error")
    assert [refusals.is_missing(error) for error in (missing, ended, other)] == [True, False, False]
    assert [refusals.has_ended(error) for error in (missing, ended, other)] == [False, True, False]
