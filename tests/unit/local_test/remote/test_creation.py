"""What becomes of a thing whose creation is refused, lost or interrupted."""

from __future__ import annotations

import datetime as dt
from typing import Any

import botocore.exceptions
import pytest

from container.errors import PlatformError, UserError
from local_test.remote import creation
from local_test.remote.creation import UncertainError


def refuse(code: str, *, retries: int = 0, status: int = 400) -> Exception:
    response: Any = {
        "Error": {"Code": code, "Message": "Resource not found" if code == "Missing" else "why"},
        "ResponseMetadata": {"HTTPStatusCode": status, "RetryAttempts": retries},
    }
    if code == "Missing":
        response["Error"]["Code"] = "ResourceNotFound"
    return botocore.exceptions.ClientError(response, "CreateModel")


IMPORTED = dt.datetime.now(dt.UTC)
NOW = IMPORTED + dt.timedelta(hours=1)  # for as long as these tests may take to begin
OLD = IMPORTED - dt.timedelta(hours=1)
BROKEN = refuse("InternalFailure", status=500)
EXISTS = refuse("ResourceInUse")
EXISTS_AGAIN = refuse("ResourceInUse", retries=1)
EXPIRED = refuse("ExpiredToken")
EXPIRED_AGAIN = refuse("ExpiredToken", retries=1)
MISSING = refuse("Missing")


@pytest.mark.parametrize(
    ("refusal", "described", "undone", "raised"),
    [
        (None, None, False, None),
        (EXISTS, OLD, False, UserError),
        (EXISTS, NOW, False, UserError),  # no attempt of this call can have made it
        (EXISTS_AGAIN, NOW, False, None),
        (EXISTS_AGAIN, OLD, False, UserError),
        (EXPIRED, NOW, False, UserError),
        (EXPIRED_AGAIN, NOW, True, UserError),
        (EXPIRED_AGAIN, EXPIRED, False, UncertainError),
        (BROKEN, NOW, True, PlatformError),
        (BROKEN, OLD, False, PlatformError),
        (BROKEN, MISSING, False, PlatformError),
        (BROKEN, EXPIRED, False, UncertainError),
        (KeyboardInterrupt(), NOW, True, KeyboardInterrupt),
        (KeyboardInterrupt(), OLD, False, KeyboardInterrupt),  # someone else's
        (KeyboardInterrupt(), MISSING, False, KeyboardInterrupt),
        (KeyboardInterrupt(), EXPIRED, False, UncertainError),
        (OSError("full"), NOW, True, OSError),
    ],
)
def test_only_what_this_call_made_is_undone(
    refusal: BaseException | None,
    described: dt.datetime | Exception | None,
    undone: bool,
    raised: type[BaseException] | None,
) -> None:
    calls: list[str] = []

    def request() -> None:
        if refusal is not None:
            raise refusal

    def describe() -> dict[str, Any]:
        if isinstance(described, Exception):
            raise described
        return {"CreationTime": described}

    def create() -> None:
        creation.create("mine", request, describe, lambda: calls.append("undone"))

    if raised is None:
        create()
    else:
        with pytest.raises(raised) as caught:
            create()
        assert type(caught.value) is raised
        if raised is UncertainError:
            assert "; mine may exist: `python -m local_test aws delete mine` deletes it" in str(
                caught.value
            )
    assert calls == ["undone"] * undone
