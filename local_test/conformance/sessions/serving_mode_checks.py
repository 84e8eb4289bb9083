"""Checks of servers of batch jobs, of isolated endpoints and of multi-model endpoints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from container import contract
from local_test.conformance.catalog import Verdict, judge, skip, skip_all
from local_test.conformance.sessions.exchange import Peer, Reply, headers_of
from local_test.conformance.sessions.server_session import start
from local_test.conformance.subject import Sessions, Subject

_NEVER_HEALTHY: Final = "it never became healthy"
_LINE_IDS: Final = ("BT-8a", "BT-9a")
BATCH_IDS: Final = ("BT-2a", *_LINE_IDS)


def check_batch(subject: Subject) -> Iterator[Verdict]:
    """A server of a batch transform job."""
    variables = {
        contract.BATCH_VARIABLE: "true",
        contract.BATCH_STRATEGY_VARIABLE: "MULTI_RECORD",
        contract.MAX_PAYLOAD_VARIABLE: "6",
        contract.MAX_CONCURRENT_TRANSFORMS_VARIABLE: "1",
    }
    with start(subject, "batch", environment=variables) as started:
        if not started.is_healthy:
            yield judge("BT-2a", False, started.failure)
            yield from skip_all(_LINE_IDS, _NEVER_HEALTHY)
            return
        reply = started.peer.post(subject)
        yield judge("BT-2a", reply.is_good, str(reply))
        yield from _send_three_lines(started.peer, subject)


def _send_three_lines(peer: Peer, subject: Subject) -> Iterator[Verdict]:
    if subject.content_type not in ("text/csv", "application/jsonlines"):
        yield from skip_all(_LINE_IDS, f"{subject.content_type} has no lines")
        return
    line = subject.body.splitlines()[0]
    answer = peer.post(subject, b"\n".join([line, line, line]), Accept=subject.content_type)
    if answer.status == 406:
        yield from skip_all(_LINE_IDS, f"it does not answer in {subject.content_type}")
        return
    end = f"the answer ends {answer.body[-12:]!r}"
    yield judge("BT-8a", not answer.body.endswith(b"\n"), end)
    count = len(answer.body.splitlines())
    evidence = f"3 lines were sent, {count} came back; {answer}"
    yield judge("BT-9a", answer.status == 200 and count == 3, evidence)


ISOLATED_IDS: Final = ("SEC-1b",)


def check_isolated(subject: Subject) -> Iterator[Verdict]:
    """A server without outbound network."""
    if subject.image is None:
        reason = "the server of a program cannot be both isolated and reachable; use --image"
        yield skip("SEC-1b", reason)
        return
    with start(subject, "isolated-server", is_isolated=True) as started:
        reply = Reply(0, error=started.failure)
        if started.is_healthy:
            reply = started.peer.post(subject)
    yield judge("SEC-1b", reply.is_good, str(reply))


MULTI_MODEL_IDS: Final = ("MME-6a", "MME-3a", "MME-2a", "MME-2b", "MME-2c", "MME-4a", "MME-5a")


def check_multi_model(subject: Subject) -> Iterator[Verdict]:
    """A server of a multi-model endpoint: nothing loaded, one model, nothing again."""
    if not subject.is_multi_model:
        reason = "the container does not claim to serve several models (IMG-12)"
        yield from skip_all(MULTI_MODEL_IDS, reason)
        return
    assert subject.runner is not None  # noqa: S101 - sessions that start servers have one
    variables = {contract.MULTI_MODEL_VARIABLE: "true"}
    with start(subject, "multi-model", environment=variables, amend=_move_model) as started:
        evidence = started.failure or "200 with nothing loaded"
        yield judge("MME-6a", started.is_healthy, evidence)
        if not started.is_healthy:
            yield from skip_all(MULTI_MODEL_IDS[1:], _NEVER_HEALTHY)
            return
        directory = f"{subject.runner.mount_point(started.root)}/models"
        yield from _probe_models(started.peer, subject, directory)


def _move_model(layout: contract.Layout) -> None:
    target = layout.models / "one" / "model"
    target.parent.mkdir(parents=True)
    layout.model.rename(target)
    layout.model.mkdir()


def _probe_models(peer: Peer, subject: Subject, directory: str) -> Iterator[Verdict]:
    def load(name: str) -> Reply:
        order = json.dumps({"model_name": name, "url": f"{directory}/{name}/model"}).encode()
        return peer.ask("POST", "/models", order, {"Content-Type": "application/json"})

    def invoke() -> Reply:
        return peer.ask("POST", "/models/one/invoke", subject.body, headers_of(subject))

    first = _list_models(peer)
    loaded = load("one")
    answer = invoke()
    second = _list_models(peer)
    evidence = f"GET /models returned {first}, and after one was loaded {second}"
    yield judge("MME-3a", first == [] and second == ["one"], evidence)
    is_loaded = loaded.status == 200 and answer.status == 200
    yield judge("MME-2a", is_loaded, f"POST /models: {loaded}; then invoked: {answer}")
    again = load("one")
    yield judge("MME-2b", again.status == 409, f"once more: {again}")
    missing = load("two")
    yield judge("MME-2c", missing.status in (400, 404), f"a missing model: {missing}")
    gone = peer.ask("DELETE", "/models/one")
    left = _list_models(peer)
    evidence = f"DELETE: {gone}; GET /models then returned {left}"
    yield judge("MME-4a", gone.status == 200 and left == [], evidence)
    unloaded = invoke()
    yield judge("MME-5a", unloaded.status == 404, f"invoked after that: {unloaded}")


def _list_models(peer: Peer) -> list[Any] | None:
    reply = peer.ask("GET", "/models")
    if reply.status != 200:
        return None
    try:
        return [model["modelName"] for model in json.loads(reply.body)["models"]]
    except (ValueError, KeyError, TypeError):
        return None


SESSIONS: Sessions = (
    (BATCH_IDS, check_batch),
    (ISOLATED_IDS, check_isolated),
    (MULTI_MODEL_IDS, check_multi_model),
)
