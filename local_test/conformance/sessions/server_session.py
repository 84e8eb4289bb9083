"""A server that runs for one session of checks."""

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from container import contract
from container.errors import UserError
from local_test import container_files, identity
from local_test.conformance.catalog import Verdict, judge, skip, skip_all
from local_test.conformance.sessions.exchange import Peer, Reply
from local_test.conformance.subject import Subject
from local_test.data import models
from local_test.endpoints.server import Limits, Server
from local_test.runners.interface import Launch

ENDED: Final = "the server ended by itself"
_END_S: Final = 0.5
"""How long after a violation a server may take to be seen to have ended."""


@dataclass(frozen=True)
class Started:
    """A server that was started, healthy or not."""

    server: Server
    root: Path
    healthy_after_s: float | None
    """None if it never became healthy."""
    failure: str
    """Why it did not; empty if it did."""

    @property
    def is_healthy(self) -> bool:
        """Whether it became healthy."""
        return self.healthy_after_s is not None

    def find_end(self) -> str:
        """Return how it ended by itself; empty if it runs."""
        code = self.server.container.wait(_END_S)
        return "" if code is None else f"with exit code {code}"

    @property
    def peer(self) -> Peer:
        """Sends requests to it."""
        return Peer(self.server.container.address, self.server.limits.invocation_s)


@contextlib.contextmanager
def start(  # noqa: PLR0913 - the situations that sessions ask for
    subject: Subject,
    name: str,
    *,
    environment: Mapping[str, str] | None = None,
    amend: Callable[[contract.Layout], None] | None = None,
    is_writable: bool = False,
    restrictions: Mapping[str, Any] = MappingProxyType({}),
) -> Iterator[Started]:
    """Start a server and wait until it is healthy, or has shown that it will not be.

    `restrictions` are fields of `Launch`, such as `is_root_read_only`.
    """
    assert subject.runner is not None  # noqa: S101 - sessions that start servers have one
    waits = subject.waits
    layout = contract.Layout(subject.directory / name)
    container_files.remove_tree(layout.base)  # of an earlier server of this name
    models.deliver(_describe_model(subject.model), layout.model)
    if amend:
        amend(layout)
    launch = Launch(
        name=name,
        arguments=("serve",),
        root=layout.base,
        environment={
            **identity.environment(
                subject.environment, is_isolated=restrictions.get("is_isolated", False)
            ),
            **(environment or {}),
        },
        read_only=() if is_writable or subject.is_model_writable else ("model",),
        is_server=True,
        **restrictions,
    )
    limits = Limits(
        startup_s=waits.start_s,
        ping_s=waits.ping_s,
        invocation_s=waits.invocation_s,
        stop_grace_s=waits.serving_stop_s,
    )
    with (subject.directory / f"{name}.log").open("w", encoding="utf-8") as log:
        server = Server(
            launch, subject.runner, limits, lambda _, line: print(line, file=log, flush=True)
        )
        try:
            yield _wait(server, layout.base)
        finally:
            server.container.remove()


def until_it_ends(
    verdicts: Iterator[Verdict], ids: Collection[str], owner: str, find_end: Callable[[], str]
) -> Iterator[Verdict]:
    """Pass verdicts on. Once the server has ended, `owner` names it, and the rest is not run.

    An empty `owner` stands for the check that finds it. `find_end` returns how the server ended, or
    an empty string.
    """
    judged = set()
    for verdict in verdicts:
        end = find_end() if verdict.is_violation else ""
        if not end:
            judged.add(verdict.check.id)
            yield verdict
            continue
        cause = owner or verdict.check.id
        at = "" if cause == verdict.check.id else f"at {verdict.check.id}, "
        yield judge(cause, False, f"{ENDED} {end}: {at}{verdict.evidence}")
        left = [identity for identity in ids if identity not in {*judged, cause}]
        yield from skip_all(left, f"not run: the server ended ({cause})")
        return


def find_refusal(subject: Subject) -> str:
    """Start a server in no special situation; return why it does not predict, or nothing.

    A check that changes one thing blames it only if the server predicts without the change.
    """
    with start(subject, "plain-server") as started:
        if not started.is_healthy:
            return started.failure
        reply = started.peer.post(subject)
    return "" if reply.is_good else f"the valid request is refused: {reply}"


def judge_changed(subject: Subject, identity: str, reply: Reply, evidence: str = "") -> Verdict:
    """Judge what a server in a special situation answered to the valid request."""
    shown = f"{evidence}{reply}"
    refusal = "" if reply.is_good else find_refusal(subject)
    if refusal:
        return skip(identity, f"{shown}; but without that, too, {refusal}")
    return judge(identity, reply.is_good, shown)


def _describe_model(source: str | None) -> dict[str, Any]:
    """Describe an archive or a directory as a container definition does."""
    if not source:
        return {}
    uri = source if "://" in source else f"file://{Path(source).absolute()}"
    if source.endswith(".tar.gz"):
        return {"ModelDataUrl": uri}
    return {"ModelDataSource": {"S3DataSource": {"S3Uri": uri.rstrip("/") + "/"}}}


def _wait(server: Server, root: Path) -> Started:
    try:
        return Started(server, root, server.wait_until_healthy(), "")
    except UserError as error:
        return Started(server, root, None, str(error))
