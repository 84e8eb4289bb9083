"""Stateful sessions: which of them a replica has opened, until they end (SE-1)."""

import datetime as dt
import math
import threading
import time
from collections.abc import Mapping
from typing import Final

from local_test.endpoints.invocation import HEADER_PREFIX

SESSION: Final = HEADER_PREFIX + "session-id"
_OPENED: Final = HEADER_PREFIX + "new-session-id"
_CLOSED: Final = HEADER_PREFIX + "closed-session-id"
_EXPIRES: Final = "Expires="


class Sessions:
    """The sessions of one replica; safe to use from several threads."""

    def __init__(self) -> None:
        self._ends_s: dict[str, float] = {}
        self._lock = threading.Lock()

    def note(self, headers: Mapping[str, str]) -> None:
        """Note what an answer opens or closes; its names are in lower case."""
        if not (_OPENED in headers or _CLOSED in headers):
            return
        opened, _, details = headers.get(_OPENED, "").partition(";")
        now = time.time()
        with self._lock:
            self._ends_s = {name: end for name, end in self._ends_s.items() if end > now}
            if opened:
                self._ends_s[opened] = _read_end(details.strip())
            self._ends_s.pop(headers.get(_CLOSED, ""), None)

    def __contains__(self, session: str) -> bool:
        """Return whether a session was opened here, and has not ended."""
        return self._ends_s.get(session, 0.0) > time.time()


def _read_end(details: str) -> float:
    """Return when a session ends, in seconds since the epoch; never if the answer does not say."""
    try:
        return dt.datetime.fromisoformat(details.removeprefix(_EXPIRES)).timestamp()
    except ValueError:
        return math.inf
