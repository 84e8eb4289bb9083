"""What counts as an answer to `GET /metrics` (HO-17)."""

import pytest

from local_test.conformance.sessions.exchange import Reply
from local_test.conformance.sessions.protocol_checks import are_metrics

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
