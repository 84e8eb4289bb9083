"""One sentence for each reason for which AWS, or the way to it, refuses a request."""

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Final

from container.errors import PlatformError, UserError, name_command

_EXPIRED: Final = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
_UNKNOWN_KEY: Final = frozenset(
    {"InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId"}
)
_BAD_SIGNATURE: Final = frozenset({"SignatureDoesNotMatch", "InvalidSignatureException"})
_SKEWED: Final = frozenset({"RequestTimeTooSkewed", "RequestInTheFuture"})
_SKEWED_WORDS: Final = re.compile("(?i)signature (expired|not yet current)")
"""How a service other than S3 words that the clocks differ."""
_DENIED: Final = frozenset(
    {"AccessDenied", "AccessDeniedException", "403", "UnauthorizedOperation"}
)
_THROTTLED: Final = frozenset(
    {
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "SlowDown",
    }
)
_QUOTA: Final = frozenset({"ResourceLimitExceeded", "LimitExceededException"})
_MISSING: Final = frozenset(
    {"ResourceNotFound", "ResourceNotFoundException", "NoSuchEntity", "NoSuchBucket"}
)
_MISSING_WORDS: Final = re.compile("(?i)not find|not found|not exist")
"""How SageMaker words a ValidationException about a name that it does not have."""
_EXISTS_WORDS: Final = re.compile("(?i)already exist")
"""How SageMaker words a ValidationException about a name that is taken."""
_ENDED_WORDS: Final = re.compile("in status .?(Completed|Failed|Stopped)")
"""How SageMaker refuses to stop a job that does not run any more."""
_NO_CREDENTIALS: Final = frozenset({"NoCredentialsError", "PartialCredentialsError"})
_NO_SESSION: Final = frozenset(
    {"TokenRetrievalError", "SSOTokenLoadError", "UnauthorizedSSOTokenError"}
)
_UNREACHABLE: Final = frozenset(
    {
        "EndpointConnectionError",
        "ConnectTimeoutError",
        "ReadTimeoutError",
        "ConnectionClosedError",
        "ProxyConnectionError",
        "SSLError",
        "HTTPClientError",
    }
)


class GoneError(UserError):
    """What a command follows does not exist any more: someone else deleted it."""


@contextlib.contextmanager
def explaining() -> Iterator[None]:
    """Raise the errors of boto3 as one sentence.

    Raises: PlatformError if AWS cannot be reached or is overloaded, UserError for everything that
        the user can change.
    """
    import boto3.exceptions  # noqa: PLC0415 - takes 0.2 s, which local commands do not need
    import botocore.exceptions  # noqa: PLC0415 - as above

    try:
        yield
    except botocore.exceptions.ClientError as error:
        raise _judge_answer(error) from error
    except boto3.exceptions.RetriesExceededError as error:
        message = f"AWS cannot be reached: {_flatten(error.last_exception)}; try again"
        raise PlatformError(message) from error
    except boto3.exceptions.S3UploadFailedError as error:
        cause = error.__context__
        if isinstance(cause, botocore.exceptions.ClientError):
            raise _judge_answer(cause) from error
        raise UserError(_flatten(error)) from error
    except botocore.exceptions.BotoCoreError as error:
        kind = PlatformError if type(error).__name__ in _UNREACHABLE else UserError
        raise kind(_explain_client(error)) from error


@contextlib.contextmanager
def ignoring(is_expected: Callable[[Exception], bool]) -> Iterator[list[Exception]]:
    """Suppress an error answer that is expected; the list holds it then."""
    import botocore.exceptions  # noqa: PLC0415 - as above

    ignored: list[Exception] = []
    try:
        yield ignored
    except botocore.exceptions.ClientError as error:
        if not is_expected(error):
            raise
        ignored.append(error)


def has_code(*codes: str) -> Callable[[Exception], bool]:
    """Return a function that says whether an error answer has one of the codes."""
    return lambda error: find_code(error) in codes


def find_code(error: Exception) -> str:
    """Return the code of an error answer; empty if there was no answer."""
    response = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def is_outage(error: Exception) -> bool:
    """Return whether an error answer says that AWS failed, so that it may have done its work."""
    response = getattr(error, "response", None) or {}
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)) >= 500


def is_repeated(error: BaseException | None) -> bool:
    """Return whether an error answer is that of a second or later attempt."""
    response = getattr(error, "response", None) or {}
    return int(response.get("ResponseMetadata", {}).get("RetryAttempts", 0)) > 0


def says_exists(error: Exception) -> bool:
    """Return whether an error answer says that the name is taken."""
    words = _EXISTS_WORDS.search(_find_message(error))
    return find_code(error) == "ResourceInUse" or words is not None


def is_missing(error: Exception) -> bool:
    """Return whether an error answer says that there is nothing of the name."""
    code = find_code(error)
    return code in _MISSING or (
        code == "ValidationException" and bool(_MISSING_WORDS.search(_find_message(error)))
    )


def has_ended(error: Exception) -> bool:
    """Return whether an error answer says that the job to stop has ended."""
    return find_code(error) == "ValidationException" and bool(
        _ENDED_WORDS.search(_find_message(error))
    )


def _find_message(error: Exception) -> str:
    response = getattr(error, "response", None) or {}
    return " ".join(str(response.get("Error", {}).get("Message", "")).split()).rstrip(".")


def _judge_answer(error: Exception) -> UserError | PlatformError:
    is_platform = find_code(error) in _THROTTLED or is_outage(error)
    return (PlatformError if is_platform else UserError)(_explain_answer(error))


def _explain_answer(error: Exception) -> str:
    said = _find_message(error)
    operation = getattr(error, "operation_name", "the request")
    code = find_code(error)
    if code in _SKEWED or _SKEWED_WORDS.search(said):
        return f"this machine's clock differs from that of AWS ({code}); set it, and try again"
    explanations = (
        (_EXPIRED, "the AWS credentials have expired; sign in again, such as with `aws sso login`"),
        (
            _UNKNOWN_KEY,
            f"AWS does not know these credentials ({code}); check the profile and the region",
        ),
        (
            _BAD_SIGNATURE,
            f"AWS refuses the signature ({code}); check the secret key and this machine's clock",
        ),
        (
            _DENIED,
            f"these credentials may not call {operation}: {said}; see `{name_command('aws role')}`",
        ),
        (
            _THROTTLED,
            f"AWS still throttles {operation} after several attempts; try again in some minutes",
        ),
        (
            _QUOTA,
            f"a quota of the account is reached: {said}; raise it in the console of Service Quotas",
        ),
    )
    for codes, explanation in explanations:
        if code in codes:
            return explanation
    if is_outage(error):
        return f"AWS fails at {operation} ({code}): {said}; try again in some minutes"
    return f"AWS refuses {operation} ({code}): {said}"


def _explain_client(error: Exception) -> str:
    name = type(error).__name__
    if name in _NO_CREDENTIALS:
        return "no AWS credentials; run `aws configure` or `aws sso login`, or name a --profile"
    if name in _NO_SESSION:
        return "the AWS sign-in has expired; run `aws sso login`"
    if name == "ProfileNotFound":
        import botocore.session  # noqa: PLC0415 - takes 0.2 s, which local commands do not need

        known = ", ".join(botocore.session.Session().available_profiles) or "none"
        profile = getattr(error, "kwargs", {}).get("profile")
        return f"the AWS configuration has no profile {profile!r}; it has: {known}"
    if name in _UNREACHABLE:
        return f"AWS cannot be reached: {_flatten(error)}; check the network, proxy and region"
    return _flatten(error)


def _flatten(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
