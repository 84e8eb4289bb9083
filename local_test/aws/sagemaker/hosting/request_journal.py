"""The asynchronous requests that an endpoint has accepted, as records until they are answered.

A request that the last local AWS did not finish runs again, also one that had begun: on AWS, too, a
request may reach a container twice.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from container.errors import UserError
from local_test.aws.account.account import Account
from local_test.aws.account.kinds import ACCEPTED_REQUEST
from local_test.endpoints.asynchronous.accepted import Accepted, Journal
from local_test.endpoints.asynchronous.async_invocation import AsyncInvocations, Links
from local_test.endpoints.invocation import Answer


@dataclass(frozen=True)
class RequestJournal(Journal):
    """The requests of one endpoint."""

    account: Account
    endpoint: str
    has_next: bool = True
    """Whether a next process answers what this one does not."""

    def keep(self, accepted: Accepted) -> None:
        """Write a request down. Raises: DiskError if it cannot be written."""
        record = {**accepted.to_record(), "EndpointName": self.endpoint}
        self.account.store.insert(ACCEPTED_REQUEST, accepted.key, record)

    def drop(self, accepted: Accepted) -> None:
        """Forget a request that was answered."""
        self.account.store.forget(ACCEPTED_REQUEST, accepted.key)

    def read(self) -> list[Accepted]:
        """Return the requests without an answer, oldest first."""
        return [
            Accepted.from_record(record)
            for record in self.account.store.list(ACCEPTED_REQUEST)
            if record["EndpointName"] == self.endpoint
        ]

    def is_closing(self) -> bool:
        """Return whether the local AWS stops, and the next one answers the requests."""
        return self.has_next and self.account.is_closing.is_set()


def fail_all(account: Account, endpoint: str, reason: str, report: Callable[[str], None]) -> None:
    """Answer the requests of an endpoint that does not run: each one fails, as its receipt says."""

    def refuse(_body: bytes, _headers: Mapping[str, str], _limit_s: float) -> Answer:
        raise UserError(reason)

    journal = RequestJournal(account, endpoint, has_next=False)
    queue = AsyncInvocations(Links(refuse, report, endpoint, account.notices.publish, journal))
    queue.resume()
    queue.close()
