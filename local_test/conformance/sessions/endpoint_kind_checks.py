"""Checks of servers of serverless and of asynchronous endpoints."""

from collections.abc import Iterator
from typing import Final

from container import contract
from local_test.conformance.catalog import Verdict, judge, skip, skip_all
from local_test.conformance.sessions.exchange import Reply, pad
from local_test.conformance.sessions.server_session import find_refusal, judge_changed, start
from local_test.conformance.subject import Sessions, Subject

SERVERLESS_IDS: Final = ("SRV-1b", "SRV-1c")


def check_serverless(subject: Subject) -> Iterator[Verdict]:
    """A server without a writable root and shared memory; if that fails, without one of them."""
    if not subject.can_protect:
        reason = "this machine cannot make the file system read-only for a program"
        yield from skip_all(SERVERLESS_IDS, reason)
        return
    both = _ask(subject, "serverless", is_root_read_only=True, has_shared_memory=False)
    read_only = without_memory = both
    if not both.is_good:
        read_only = _ask(subject, "read-only-root", is_root_read_only=True)
        without_memory = _ask(subject, "no-shared-memory", has_shared_memory=False)
    if not both.is_good and read_only.is_good and without_memory.is_good:
        read_only = both  # such as a program that uses /dev/shm where it cannot write to its folder
    yield judge_changed(subject, "SRV-1b", read_only, "only /tmp can be written to: ")
    yield judge_changed(subject, "SRV-1c", without_memory, "without /dev/shm: ")


def _ask(subject: Subject, name: str, **restrictions: bool) -> Reply:
    with start(subject, name, restrictions=restrictions) as started:
        if started.is_healthy:
            return started.peer.post(subject)
        return Reply(0, error=started.failure)


ASYNC_IDS: Final = ("ASY-1a",)
_LARGE_BYTES: Final = contract.REALTIME_PAYLOAD_BYTES + 1024**2
_VARIABLES: Final = {
    contract.MAX_PAYLOAD_VARIABLE: "1024",
    "SAGEMAKER_MODEL_SERVER_TIMEOUT": "3600",
}
"""What users set on the model of an asynchronous endpoint."""


def check_async(subject: Subject) -> Iterator[Verdict]:
    """A server of an asynchronous endpoint, whose bodies are larger than others."""
    with start(subject, "async", environment=_VARIABLES) as started:
        reply = Reply(0, error=started.failure)
        if started.is_healthy:
            reply = started.peer.post(subject, pad(subject.body, _LARGE_BYTES))
    evidence = f"{_LARGE_BYTES} bytes: {reply}"
    refusal = "" if reply.is_good else find_refusal(subject)
    if refusal:
        yield skip("ASY-1a", f"{evidence}; but without that, too, {refusal}")
        return
    is_accepted = 0 < reply.status < 500 and reply.status != 413
    yield judge("ASY-1a", is_accepted, evidence)


SESSIONS: Sessions = ((SERVERLESS_IDS, check_serverless), (ASYNC_IDS, check_async))
