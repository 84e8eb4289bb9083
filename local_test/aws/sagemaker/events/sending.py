"""Sends the events of an account, in the order of its changes."""

import queue
import sys
import threading
import traceback
from typing import Any

from local_test.aws.account.account import Account
from local_test.aws.account.kinds import Kind
from local_test.aws.sagemaker.events.changes import WATCHED, find_events


def install(account: Account) -> None:
    """Send an event for each change from now on; requests and jobs do not wait for it."""
    waiting: queue.SimpleQueue[tuple[Kind[Any], Any, Any]] = queue.SimpleQueue()

    def send() -> None:
        while True:
            kind, before, after = waiting.get()
            try:
                for event in find_events(kind, before, after):
                    account.notices.send_event(event.kind, event.resources, event.detail)
            except Exception:  # noqa: BLE001 - a bug must not stop the events that follow
                traceback.print_exc(file=sys.stderr)

    def watch(kind: Kind[Any], before: Any, after: Any) -> None:
        if kind.name in WATCHED:
            waiting.put((kind, before, after))

    account.store.watch = watch
    threading.Thread(target=send, name="events", daemon=True).start()
