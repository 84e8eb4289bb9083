"""Checks of servers of batch jobs, of isolated and multi-model endpoints, and of labels."""

import json
import os
import shutil
from collections.abc import Collection, Iterator
from typing import Any, Final

from container import contract
from container.errors import PlatformError
from local_test.conformance.catalog import Verdict, judge, skip, skip_all
from local_test.conformance.sessions.exchange import Peer, Reply, headers_of
from local_test.conformance.sessions.server_session import (
    Started,
    judge_changed,
    start,
    until_it_ends,
)
from local_test.conformance.subject import Sessions, Subject

_NEVER_HEALTHY: Final = "it never became healthy"
_LINE_TYPES: Final = (
    "text/csv", "application/jsonlines", "application/jsonl", "application/x-jsonlines",
    "application/x-ndjson",
)  # fmt: skip
_LINE_IDS: Final = ("BT-8a", "BT-9a")
_OTHER_PORT: Final = "8123"
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
            yield judge_changed(subject, "BT-2a", Reply(0, error=started.failure))
            yield from skip_all(_LINE_IDS, _NEVER_HEALTHY)
            return
        reply = started.peer.post(subject)
        yield judge_changed(subject, "BT-2a", reply)
        lines = _send_three_lines(started.peer, subject)
        yield from until_it_ends(lines, _LINE_IDS, "", started.find_end)


def _send_three_lines(peer: Peer, subject: Subject) -> Iterator[Verdict]:
    if _media_type(subject.content_type) not in _LINE_TYPES:
        yield from skip_all(_LINE_IDS, f"{subject.content_type} has no lines")
        return
    line = subject.body.splitlines()[0] if subject.body else b""
    single = peer.post(subject, line, Accept=subject.content_type)
    if not (single.is_good or single.status == 406):
        yield from skip_all(_LINE_IDS, f"a single line is refused: {single}")
        return
    answer = peer.post(subject, b"\n".join([line, line, line]), Accept=subject.content_type)
    if answer.status == 406:
        yield from skip_all(_LINE_IDS, f"it does not answer in {subject.content_type}")
        return
    end = f"the answer ends {answer.body[-12:]!r}"
    yield judge("BT-8a", not answer.body.endswith(b"\n"), end)
    count = _count_records(answer)
    if answer.status == 200 and count is None:
        found = f"records of {answer.headers.get('content-type')} are not counted; {answer}"
        yield skip("BT-9a", found)
        return
    evidence = f"3 records were sent, {count} came back; {answer}"
    yield judge("BT-9a", answer.status == 200 and count == 3, evidence)


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _count_records(answer: Reply) -> int | None:
    """Count the records of an answer: lines, or elements of a JSON array; None for other types."""
    media_type = _media_type(answer.headers.get("content-type", "text/plain"))
    if media_type in _LINE_TYPES or media_type.startswith("text/"):
        return len(answer.body.splitlines())
    if media_type != "application/json":
        return None
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        return len(answer.body.splitlines())  # JSON lines by another name
    arrays = [document] if isinstance(document, list) else []
    if isinstance(document, dict):
        arrays = [value for value in document.values() if isinstance(value, list)]
    return len(arrays[0]) if arrays and len({len(array) for array in arrays}) == 1 else None


ISOLATED_IDS: Final = ("SEC-1b",)


def check_isolated(subject: Subject) -> Iterator[Verdict]:
    """A server without outbound network."""
    if subject.image is None:
        reason = "the server of a program cannot be both isolated and reachable; use --image"
        yield skip("SEC-1b", reason)
        return
    try:
        with start(subject, "isolated-server", restrictions={"is_isolated": True}) as started:
            reply = Reply(0, error=started.failure)
            if started.is_healthy:
                reply = started.peer.post(subject)
    except PlatformError as error:
        yield skip("SEC-1b", f"not run: {error}")
        return
    yield judge_changed(subject, "SEC-1b", reply)


PROMISES: Final = {"IMG-12b": contract.BIND_TO_PORT_LABEL, "IMG-12c": contract.BIDIRECTIONAL_LABEL}
"""Checks, and the label of an image that promises what each checks."""
# Source: RFC 6455, section 1.3.
_HANDSHAKE: Final = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}
_ACCEPTANCE: Final = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def check_promises(subject: Subject) -> Iterator[Verdict]:
    """A server of an image whose labels promise another port or bidirectional streams."""
    if subject.image is None:
        yield from skip_all(PROMISES, "a program has no labels; all its servers are given a port")
        return
    labels = (subject.image.get("Config") or {}).get("Labels") or {}
    promised = {name for name, label in PROMISES.items() if labels.get(label) == "true"}
    for name, label in PROMISES.items():
        if name not in promised:
            yield skip(name, f"the image has no label {label}=true")
    if promised:
        yield from _judge_promises(subject, promised)


def _judge_promises(subject: Subject, promised: Collection[str]) -> Iterator[Verdict]:
    port = {contract.BIND_TO_PORT_VARIABLE: _OTHER_PORT} if "IMG-12b" in promised else {}
    with start(subject, "promises", environment=port) as started:
        if port:
            evidence = started.failure or f"200 at port {_OTHER_PORT}"
            yield judge("IMG-12b", started.is_healthy, evidence)
        if "IMG-12c" in promised:
            yield _open_stream(started)


def _open_stream(started: Started) -> Verdict:
    if not started.is_healthy:
        return skip("IMG-12c", _NEVER_HEALTHY)
    reply = started.peer.ask("GET", contract.BIDIRECTIONAL_PATH, headers=_HANDSHAKE)
    if reply.status == 501:
        return skip("IMG-12c", f"the code of this model takes no streams: {reply}")
    is_open = reply.headers.get("sec-websocket-accept") == _ACCEPTANCE
    return judge("IMG-12c", reply.status == 101 and is_open, f"handshake: {reply}")


MULTI_MODEL_IDS: Final = (
    "MME-6a",
    "MME-3a",
    "MME-2a",
    "MME-2b",
    "MME-2c",
    "MME-4a",
    "MME-5a",
    "MME-2d",
)
_MOST_MODELS: Final = 8


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
        yield from until_it_ends(
            _probe_models(started, subject, directory), MULTI_MODEL_IDS[1:], "", started.find_end
        )


def _move_model(layout: contract.Layout) -> None:
    target = layout.models / "one" / "model"
    target.parent.mkdir(parents=True)
    layout.model.rename(target)
    layout.model.mkdir()


def _probe_models(started: Started, subject: Subject, directory: str) -> Iterator[Verdict]:
    peer = started.peer

    def load(name: str) -> Reply:
        return _load(peer, name, directory)

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
    yield _fill_memory(started, subject, directory)


def _load(peer: Peer, name: str, directory: str) -> Reply:
    order = json.dumps({"model_name": name, "url": f"{directory}/{name}/model"}).encode()
    return peer.ask("POST", "/models", order, {"Content-Type": "application/json"})


def _fill_memory(started: Started, subject: Subject, directory: str) -> Verdict:
    """Load copies of the model until one is refused; that one must fit when another has gone."""
    peer = started.peer
    models = contract.Layout(started.root).models
    loaded: list[str] = []
    for number in range(_MOST_MODELS):
        name = f"copy-{number}"
        shutil.copytree(models / "one", models / name, copy_function=os.link)
        reply = _load(peer, name, directory)
        if reply.status != 200:
            break
        loaded.append(name)
    else:
        return skip("MME-2d", f"{_MOST_MODELS} copies of the model fit, so memory was never short")
    evidence = f"model {len(loaded) + 1}: {reply}"
    if reply.status != 507 or not loaded:
        return judge("MME-2d", False, evidence)
    path = f"/models/{loaded[-1]}"
    kept = peer.ask("POST", f"{path}/invoke", subject.body, headers_of(subject))
    gone = peer.ask("DELETE", path)
    again = _load(peer, name, directory)
    statuses = [kept.status, gone.status, again.status]
    evidence += f"; a loaded one then answers {kept}; unloaded: {gone}; the refused one: {again}"
    return judge("MME-2d", statuses == [200, 200, 200], evidence)


def _list_models(peer: Peer) -> list[Any] | None:
    reply = peer.ask("GET", "/models")
    if reply.status != 200:
        return None
    try:
        return [model["modelName"] for model in json.loads(reply.body)["models"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


SESSIONS: Sessions = (
    (BATCH_IDS, check_batch),
    (ISOLATED_IDS, check_isolated),
    (tuple(PROMISES), check_promises),
    (MULTI_MODEL_IDS, check_multi_model),
)
