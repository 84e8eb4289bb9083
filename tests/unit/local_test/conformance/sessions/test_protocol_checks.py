"""What counts as an answer to `GET /metrics` (HO-17)."""

from pathlib import Path

import pytest

from local_test.conformance.sessions.exchange import Reply
from local_test.conformance.sessions.protocol_checks import are_metrics, check_protocol
from local_test.conformance.subject import Subject
from tests.support import free_port

TEXT = {"content-type": "text/plain; version=0.0.4; charset=utf-8"}
GOOD = b"""# HELP requests_total Requests.
# TYPE requests_total counter
requests_total{code="200",path="/a b"} 1027 1395066363000

requests_total 1.5e+3
up{} NaN
seconds_bucket{le="+Inf"} +Inf
 indented\t-2.5
{"a.name", le="1"} 3
"""


def test_a_server_elsewhere_that_has_ended_is_described(tmp_path: Path) -> None:
    subject = Subject(runner=None, directory=tmp_path, address=("127.0.0.1", free_port()))
    ended = next(check_protocol(subject))
    assert (ended.check.id, ended.is_violation) == ("RQ-8b", True)
    assert ended.evidence.startswith(
        "the server ended by itself (it no longer accepts connections)"
    )


@pytest.mark.parametrize(
    ("reply", "is_accepted"),
    [
        (Reply(200, TEXT, GOOD), True),
        (Reply(200, {"content-type": "application/openmetrics-text"}, b"up 1\n# EOF\n"), True),
        (Reply(200, TEXT, b""), True),
        (Reply(404, {"content-type": "text/html"}, b"<p>no"), True),
        (Reply(200, TEXT, b"requests so far: 1"), False),
        (Reply(200, TEXT, b"requests"), False),
        (Reply(200, TEXT, b"requests1"), False),
        (Reply(200, TEXT, b"{}"), False),
        (Reply(200, TEXT, b"<html>"), False),
        (Reply(200, {"content-type": "application/json"}, b"{}"), False),
        (Reply(200, {}, b"up 1"), False),
        (Reply(503, TEXT, GOOD), False),
        (Reply(0), False),
    ],
)
def test_metrics_are_prometheus_text_or_absent(reply: Reply, *, is_accepted: bool) -> None:
    assert are_metrics(reply) is is_accepted
