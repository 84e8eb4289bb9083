"""Checks of HTTP: health, paths, negotiation, load, metrics and refusals, on one running server."""

import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any, Final

from container import contract
from local_test.conformance.catalog import Verdict, judge, skip, skip_all
from local_test.conformance.sessions.exchange import (
    Peer,
    Reply,
    asking,
    headers_of,
    pad,
    run_parallel,
)
from local_test.conformance.sessions.server_session import start, until_it_ends
from local_test.conformance.subject import Sessions, Subject
from local_test.endpoints.client import ACCEPT_LIMIT_S, is_listening

_GARBAGE: Final = b'\xff\xfe{]\x00"not, a\x00request\xff'
_NEVER: Final = "application/x-never-heard-of"
_WAITING_CONNECTIONS: Final = 40
_PARALLEL_REQUESTS: Final = 8
_METRICS_TYPES: Final = ("text/plain", "application/openmetrics-text")
_METRICS_LINE: Final = re.compile(  # empty, a comment, or a name with labels and a number
    rb"\s*(#.*|([a-z_:][\w:]*(\s*\{.*\}\s*|\s+)|\{.*\}\s*)[-+]?(\.?\d|nan|inf)\S*(\s.*)?)?",
    re.IGNORECASE,
)

_UNCONDITIONAL_IDS: Final = (
    "HO-4a", "HO-4b", "HO-4d", "HO-1b", "HO-16a", "HO-16b", "HO-16c", "RQ-1a", "HO-8a",
)  # fmt: skip
CONDITIONAL_IDS: Final = (
    "RQ-2a", "RQ-3a", "RQ-3b", "RQ-3c", "RQ-3d", "RQ-4a", "RQ-4b", "RQ-4c", "RQ-4d", "RQ-5a",
    "RQ-6a", "RQ-6b", "RQ-8a", "SEC-4a", "BT-3a", "BT-4a", "BT-6a", "HO-9a", "HO-14a", "HO-4c",
    "HO-7a", "HO-17a", "RQ-8b", "ST-1a",
)  # fmt: skip
"""These need a valid request that is answered."""
_SURVIVAL: Final = "RQ-8b"
"""What a server that ends by itself violates, whichever request ended it."""
_REFUSAL_IDS: Final = ("RQ-6b", "RQ-8a", "SEC-4a", "HO-9a")
PROTOCOL_IDS: Final = (*_UNCONDITIONAL_IDS, *CONDITIONAL_IDS)


def check_protocol(subject: Subject) -> Iterator[Verdict]:
    """One server that is asked everything that a caller and the platform may ask."""
    if subject.address is not None:
        address = subject.address
        verdicts = probe(subject, Peer(address, subject.waits.invocation_s))
        yield from until_it_ends(verdicts, PROTOCOL_IDS, _SURVIVAL, lambda: _find_silence(address))
        return
    with start(subject, "protocol") as started:
        if not started.is_healthy:
            yield judge("HO-4a", False, started.failure)
            yield from skip_all(PROTOCOL_IDS[1:], "the server never became healthy")
            return
        verdicts = probe(subject, started.peer)
        yield from until_it_ends(verdicts, PROTOCOL_IDS, _SURVIVAL, started.find_end)


def _find_silence(address: tuple[str, int]) -> str:
    """Return how a server that runs elsewhere has ended, as far as it can be seen."""
    return "" if is_listening(address) else "(it no longer accepts connections)"


SESSIONS: Sessions = ((PROTOCOL_IDS, check_protocol),)


def probe(subject: Subject, peer: Peer) -> Iterator[Verdict]:
    """Ask a healthy server; the requests that may break it come last."""
    yield from _probe_ping(peer)
    yield _probe_kept_connection(peer)
    yield from _probe_paths(peer)
    good = peer.post(subject)
    yield judge("RQ-1a", good.is_good, str(good))
    is_in_time = bool(good.status) and good.seconds < subject.waits.invocation_s
    yield judge("HO-8a", is_in_time, str(good))
    if not good.is_good:
        yield from skip_all(CONDITIONAL_IDS, "the valid request is refused")
        return
    content_type = good.headers.get("content-type")
    yield judge("RQ-4d", content_type is not None, f"Content-Type: {content_type}")
    yield _judge_end(good)
    yield from _probe_types(peer, subject)
    yield from _probe_other_headers(peer, subject)
    yield from _probe_parameters(peer)
    chunked = peer.ask("POST", "/invocations", subject.body, headers_of(subject), is_chunked=True)
    is_same = (chunked.status, chunked.body) == (good.status, good.body)
    yield judge("BT-6a", is_same, f"in chunks: {chunked}")
    yield from _probe_load(peer, subject, good)
    yield _probe_accepting(peer, subject)
    yield from _probe_refusals(peer, subject)


def _judge_end(reply: Reply) -> Verdict:
    """Judge whether a caller can tell the end of an answer from a connection that broke."""
    marks = {name: reply.headers.get(name) for name in ("content-length", "transfer-encoding")}
    is_marked = reply.status == 204 or any(marks.values())
    return judge("ST-1a", is_marked, f"headers: {marks}; {reply}")


def _probe_ping(peer: Peer) -> Iterator[Verdict]:
    ping = peer.ask("GET", "/ping")
    yield judge("HO-4a", ping.status == 200, f"GET /ping: {ping}")
    posted = peer.ask("POST", "/ping", b"")
    yield judge("HO-4b", posted.status == 200, f"POST /ping: {posted}")
    yield judge("HO-4d", not ping.body, f"{len(ping.body)} bytes")


def _probe_kept_connection(peer: Peer) -> Verdict:
    connection = http.client.HTTPConnection(*peer.address, timeout=10)
    statuses = []
    try:
        for _ in range(2):
            connection.request("GET", "/ping")
            response = connection.getresponse()
            response.read()
            statuses.append(response.status)
            if response.will_close:
                break
    except (OSError, http.client.HTTPException) as error:
        return judge("HO-1b", False, f"{type(error).__name__}: {error}")
    finally:
        connection.close()
    evidence = f"HTTP/{response.version / 10}; statuses on one connection: {statuses}"
    return judge("HO-1b", not response.will_close, evidence)


def _probe_paths(peer: Peer) -> Iterator[Verdict]:
    unknown = peer.ask("GET", "/no-such-path")
    yield judge("HO-16a", unknown.status == 404, f"GET /no-such-path: {unknown}")
    wrong = peer.ask("GET", "/invocations")
    yield judge("HO-16b", wrong.status == 405, f"GET /invocations: {wrong}")
    slashed = peer.ask("GET", "/ping/")
    yield judge("HO-16c", not 300 <= slashed.status < 400, f"GET /ping/: {slashed}")


def _probe_types(peer: Peer, subject: Subject) -> Iterator[Verdict]:
    media_type, semicolon, parameters = subject.content_type.partition(";")
    with_parameters = f"{media_type}; {parameters.strip() or 'charset=utf-8'}"
    reply = peer.post(subject, Content_Type=with_parameters)
    yield judge("RQ-3a", reply.is_good, f"{with_parameters}: {reply}")
    in_upper_case = media_type.upper() + semicolon + parameters
    reply = peer.post(subject, Content_Type=in_upper_case)
    yield judge("RQ-3b", reply.is_good, f"{in_upper_case}: {reply}")
    unknown = peer.post(subject, Content_Type=_NEVER)
    yield judge("RQ-3c", unknown.status == 415, f"Content-Type {_NEVER}: {unknown}")
    untyped = peer.ask("POST", "/invocations", subject.body, {"Accept": subject.accept})
    yield judge("RQ-3d", 0 < untyped.status < 500, f"without Content-Type: {untyped}")
    bare = peer.ask("POST", "/invocations", subject.body, {"Content-Type": subject.content_type})
    anything = peer.post(subject, Accept="*/*")
    both = f"without Accept: {bare}; with */*: {anything}"
    yield judge("RQ-4a", bare.is_good and anything.is_good, both)
    weights = f"{_NEVER};q=0.9, */*;q=0.1"
    weighted = peer.post(subject, Accept=weights)
    yield judge("RQ-4b", weighted.is_good, f"{weights}: {weighted}")
    never = peer.post(subject, Accept=_NEVER)
    yield judge("RQ-4c", never.status == 406, f"Accept {_NEVER}: {never}")


def _probe_other_headers(peer: Peer, subject: Subject) -> Iterator[Verdict]:
    strange = peer.post(subject, X_Strange="1", Cookie="a=b")
    yield judge("RQ-2a", strange.is_good, f"with X-Strange and Cookie: {strange}")
    attributes = headers_of(subject) | {contract.CUSTOM_ATTRIBUTES_HEADER: "a" * 1024}
    long = peer.ask("POST", "/invocations", subject.body, attributes)
    yield judge("RQ-5a", long.is_good, f"1024 characters: {long}")


def _probe_parameters(peer: Peer) -> Iterator[Verdict]:
    reply = peer.ask("GET", "/execution-parameters")
    if reply.status == 404:
        yield judge("BT-3a", True, "404: the platform uses its defaults")
        yield skip("BT-4a", "the server has no execution parameters")
        return
    document = None
    if reply.status == 200:
        document = _read_json(reply.body)
    yield judge("BT-3a", isinstance(document, dict), f"GET /execution-parameters: {reply}")
    if isinstance(document, dict):
        yield judge("BT-4a", _are_parameters(document), json.dumps(document))
    else:
        yield skip("BT-4a", "the server has no execution parameters")


def _read_json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _are_parameters(document: dict[str, Any]) -> bool:
    if set(document) != {"MaxConcurrentTransforms", "BatchStrategy", "MaxPayloadInMB"}:
        return False
    if document["BatchStrategy"] not in ("MULTI_RECORD", "SINGLE_RECORD"):
        return False
    numbers = (document["MaxConcurrentTransforms"], document["MaxPayloadInMB"])
    if not all(type(number) is int and number >= 0 for number in numbers):
        return False
    return bool(numbers[0] * numbers[1] <= 100)


def _probe_load(peer: Peer, subject: Subject, good: Reply) -> Iterator[Verdict]:
    """Parallel requests, with pings and scrapes of the metrics meanwhile."""
    replies: list[Reply] = []
    limit_s = subject.waits.ping_s
    patient = Peer(peer.address, 4 * limit_s)
    with asking(patient, "/ping", 0.02) as pings, asking(patient, "/metrics", 0.1) as scrapes:
        run_parallel(_PARALLEL_REQUESTS, lambda: replies.append(peer.post(subject)))
    wrong = [reply for reply in replies if (reply.status, reply.body) != (good.status, good.body)]
    found = f"one differs: {wrong[0]}" if wrong else "all alike"
    yield judge("HO-14a", not wrong, f"{len(replies)} at once; {found}")
    slowest = max(pings, key=lambda reply: reply.seconds)
    is_quick = all(reply.status == 200 and reply.seconds <= limit_s for reply in pings)
    yield judge("HO-4c", is_quick, f"{len(pings)} pings meanwhile; the slowest: {slowest}")
    yield _judge_metrics(scrapes, limit_s)


def _judge_metrics(scrapes: list[Reply], limit_s: float) -> Verdict:
    bad = [reply for reply in scrapes if reply.seconds > limit_s or not are_metrics(reply)]
    shown = bad[0] if bad else max(scrapes, key=lambda reply: reply.seconds)
    content_type = shown.headers.get("content-type")
    evidence = f"{len(scrapes)} scrapes while predicting, {len(bad)} bad: {content_type}, {shown}"
    return judge("HO-17a", not bad, evidence)


def are_metrics(reply: Reply) -> bool:
    """Return whether the answer is 404 or metrics in a Prometheus text format (HO-17)."""
    if reply.status == 404:
        return True
    content_type = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
    if reply.status != 200 or content_type not in _METRICS_TYPES:
        return False
    return all(_METRICS_LINE.fullmatch(line) for line in reply.body.splitlines())


def _probe_accepting(peer: Peer, subject: Subject) -> Verdict:
    """Open many connections that send nothing while a request is in progress."""
    request = threading.Thread(target=peer.post, args=(subject,))
    request.start()
    opened: list[socket.socket] = []
    started = time.monotonic()
    refused = ""
    try:
        for _ in range(_WAITING_CONNECTIONS):
            connection = socket.create_connection(peer.address, ACCEPT_LIMIT_S)
            opened.append(connection)
    except OSError as error:
        refused = f"; then {type(error).__name__}"
    finally:
        took_s = time.monotonic() - started
        for connection in opened:
            connection.close()
        request.join()
    evidence = f"{len(opened)} of {_WAITING_CONNECTIONS} opened in {took_s:.3f} s{refused}"
    return judge("HO-7a", not refused, evidence)


def _probe_refusals(peer: Peer, subject: Subject) -> Iterator[Verdict]:
    """Bad requests, the largest body, and whether the server survives them."""
    garbage = peer.post(subject, _GARBAGE)
    yield judge("RQ-6a", 400 <= garbage.status < 500, f"{_GARBAGE[:12]!r}...: {garbage}")
    if garbage.status:
        yield from _probe_others(peer, subject, garbage)
    else:  # one cause, one verdict
        yield from skip_all(_REFUSAL_IDS, f"a malformed body was not answered (RQ-6a): {garbage}")
    ping = peer.ask("GET", "/ping")
    again = peer.post(subject)
    is_alive = ping.status == 200 and again.is_good
    yield judge("RQ-8b", is_alive, f"afterwards, ping: {ping}; a valid request: {again}")


def _probe_others(peer: Peer, subject: Subject, garbage: Reply) -> Iterator[Verdict]:
    text = garbage.body.strip()
    is_message = bool(text) and not text.startswith(b"<")
    yield judge("RQ-6b", is_message, f"its body: {garbage.body[:100]!r}")
    empty = peer.post(subject, b"")
    is_refused = 400 <= empty.status < 500 or empty.status == 204
    yield judge("RQ-8a", is_refused, f"an empty body: {empty}")
    answers = (garbage, empty)
    shown = [str(reply) for reply in answers if b"Traceback (most recent call last)" in reply.body]
    yield judge("SEC-4a", not shown, "".join(shown[:1]) or "none in the answers to bad requests")
    if not empty.status:
        yield skip("HO-9a", f"an empty body was not answered (RQ-8a): {empty}")
        return
    large = pad(subject.body, contract.REALTIME_PAYLOAD_BYTES - 1)
    reply = peer.post(subject, large)
    is_accepted = 0 < reply.status < 500 and reply.status != 413
    yield judge("HO-9a", is_accepted, f"{len(large)} bytes: {reply}")
