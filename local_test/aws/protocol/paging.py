"""Pages of answers that list things."""

import base64
import hashlib
import json
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from local_test.aws.protocol.messages import AwsError

T = TypeVar("T")


@dataclass(frozen=True)
class Pager:
    """How one operation divides its answer into pages.

    A token holds the rank of the last entry shown, so that entries which come or go between two
    requests do not move the pages, and a digest of the request, so that it fits no other one.
    """

    operation: str
    default_length: int
    token_name: str = "NextToken"  # noqa: S105 - the name of a member, not a password
    length_name: str = "MaxResults"
    error_code: str = "ValidationException"

    def cut(
        self,
        items: Iterable[T],
        request: Mapping[str, Any],
        rank: Callable[[T], list[Any]] | None = None,
        *,
        is_descending: bool = False,
    ) -> tuple[list[T], dict[str, str]]:
        """Return the page that a request asks for, and the member with the next token, if any.

        Items are sorted by `rank`; without one, they are shown in their order.

        Raises: AwsError for a token that does not come from the same request.
        """
        ranked: list[tuple[list[Any], T]]
        if rank is None:
            ranked = [([index], item) for index, item in enumerate(items)]
        else:
            ranked = [(rank(item), item) for item in items]
            ranked.sort(key=operator.itemgetter(0), reverse=is_descending)
        digest = self._digest(request)
        if token := request.get(self.token_name):
            last = self._open(token, digest)
            is_after = operator.lt if is_descending else operator.gt
            try:
                ranked = [entry for entry in ranked if is_after(entry[0], last)]
            except TypeError:
                self._refuse()
        length = max(1, request.get(self.length_name, self.default_length))
        shown = ranked[:length]
        more = {}
        if len(ranked) > length:
            document = json.dumps([digest, shown[-1][0]]).encode()
            more = {self.token_name: base64.urlsafe_b64encode(document).decode()}
        return [item for _, item in shown], more

    def _digest(self, request: Mapping[str, Any]) -> str:
        paging = (self.token_name, self.length_name)
        filters = {name: value for name, value in request.items() if name not in paging}
        scope = json.dumps([self.operation, filters], sort_keys=True)
        return hashlib.sha256(scope.encode()).hexdigest()[:16]

    def _open(self, token: str, digest: str) -> list[Any]:
        try:
            found, rank = json.loads(base64.urlsafe_b64decode(token))
        except (ValueError, TypeError, RecursionError):
            found, rank = None, None
        if found != digest or not isinstance(rank, list):
            self._refuse()
        return rank

    def _refuse(self) -> NoReturn:
        message = (
            f"Invalid {self.token_name}: it does not come from a request with the same filters "
            "and sorting"
        )
        raise AwsError(self.error_code, message)
