"""One endpoint of the account, with its model and configuration."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

from container.errors import PlatformError, UserError
from local_test.remote.access import Account
from local_test.remote.creation import create
from local_test.remote.log_reader import LogReader
from local_test.remote.refusals import explaining, find_code, ignoring, is_missing
from local_test.requests.endpoint_requests import EndpointRequests
from local_test.runners.log_lines import OnLine

_FIRST_POLL_S: Final = 0.2
_POLL_S: Final = 5.0
_END_LIMIT_S: Final = 1800.0
"""How long an endpoint may take to disappear; one that is being created is waited for first."""
_NAMES: Final = {
    "model": "ModelName",
    "endpoint_config": "EndpointConfigName",
    "endpoint": "EndpointName",
}
_BUSY: Final = re.compile("(?i)in.progress")
_WATCH_S: Final = 2.0
_DELETED: Final = "someone else deleted the endpoint"


class EndedError(Exception):
    """An endpoint does not serve any more, or never will; the text says why."""


class RemoteEndpoint:
    """An endpoint: `start` it, `wait` for it, `delete` it with all that was made for it."""

    def __init__(self, account: Account, requests: EndpointRequests, on_line: OnLine) -> None:
        self.name: str = requests.endpoint["EndpointName"]
        self._account = account
        self._sagemaker = account.client("sagemaker")
        self._requests = requests
        self._made: list[tuple[str, str]] = []
        """Noun and name of what was made, in this order."""
        self._log = LogReader(account, f"/aws/sagemaker/Endpoints/{self.name}", "", on_line)

    def start(self) -> None:
        """Ask for models, configuration and endpoint.

        Raises: UserError or PlatformError if the service refuses one; `delete` removes the others.
        """
        for name, model in self._requests.models.items():
            self._create("model", name, model)
        config = self._requests.config
        self._create("endpoint_config", config["EndpointConfigName"], config)
        self._create("endpoint", self.name, self._requests.endpoint)

    def _create(self, noun: str, name: str, request: Mapping[str, Any]) -> None:
        create(
            name,
            lambda: getattr(self._sagemaker, f"create_{noun}")(**request),
            lambda: getattr(self._sagemaker, f"describe_{noun}")(**{_NAMES[noun]: name}),
            lambda: self._delete_one(noun, name),
        )
        self._made.append((noun, name))

    def wait(self, on_status: Callable[[str, str], None]) -> None:
        """Show log and status until the endpoint serves.

        Raises: EndedError if it fails or someone else deletes it, UserError or PlatformError if the
            service cannot be asked any more.
        """
        shown = ""
        pause_s = _FIRST_POLL_S
        while True:
            status, reason = self._look()
            if status != shown:
                on_status(status, reason)
                shown = status
            with explaining():
                self._log.read()
            if status == "InService":
                return
            _check(status, reason)
            time.sleep(pause_s)
            pause_s = min(_POLL_S, pause_s * 1.5)

    def watch(self) -> NoReturn:
        """Show the log for as long as the endpoint exists. Raises: as `wait` does."""
        while True:
            _check(*self._look())
            with explaining():
                self._log.read()
            time.sleep(_WATCH_S)

    def _look(self) -> tuple[str, str]:
        """Return status and failure reason.

        Raises: EndedError if the endpoint does not exist any more.
        """
        with explaining(), ignoring(is_missing) as missing:
            found = self._sagemaker.describe_endpoint(EndpointName=self.name)
        if missing:
            raise EndedError(_DELETED)
        return str(found["EndpointStatus"]), str(found.get("FailureReason", ""))

    def delete(self) -> None:
        """Delete the endpoint, its configuration and its models, as far as they were made.

        Raises: UserError or PlatformError if the service refuses; the others are deleted first.
        """
        errors: list[UserError | PlatformError] = []
        for noun, name in reversed(self._made):
            try:
                self._delete_one(noun, name)
            except (UserError, PlatformError) as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def _delete_one(self, noun: str, name: str) -> None:
        with explaining(), ignoring(is_missing):
            if noun == "endpoint":
                delete_endpoint(self._account, name)
            else:
                getattr(self._sagemaker, f"delete_{noun}")(**{_NAMES[noun]: name})


def _check(status: str, reason: str) -> None:
    """Raise EndedError for an endpoint that does not serve any more, or never will."""
    if status == "Failed":
        raise EndedError(f"the endpoint failed: {reason or 'the service gives no reason'}")
    if status == "Deleting":
        raise EndedError(_DELETED)


def _is_busy(error: Exception) -> bool:
    return find_code(error) == "ValidationException" and bool(_BUSY.search(str(error)))


def delete_endpoint(account: Account, name: str) -> None:
    """Delete an endpoint and wait until it is gone; one that is being changed is waited for.

    One that is being deleted already is not deleted again: policies permit only what has a tag.

    Raises: botocore's errors; PlatformError if it does not disappear.
    """
    sagemaker = account.client("sagemaker")
    deadline = time.monotonic() + _END_LIMIT_S
    pause_s = _FIRST_POLL_S
    while time.monotonic() < deadline:
        with ignoring(is_missing) as missing:
            found = sagemaker.describe_endpoint(EndpointName=name)
            if found["EndpointStatus"] != "Deleting":
                with ignoring(_is_busy):
                    sagemaker.delete_endpoint(EndpointName=name)
        if missing:
            return
        time.sleep(pause_s)
        pause_s = min(_POLL_S, pause_s * 1.5)
    raise PlatformError(
        f"the endpoint {name} has not disappeared after {_END_LIMIT_S:.0f} s; look at it in the "
        "console of SageMaker"
    )
