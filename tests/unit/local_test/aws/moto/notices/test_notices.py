"""Messages and events through moto's own SNS, SQS, Logs and EventBridge."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from moto.events.models import events_backends
from moto.logs.models import logs_backends
from moto.sns.models import sns_backends
from moto.sqs.models import sqs_backends

from container.errors import UserError
from local_test.aws.moto.notices.notices import Notices
from tests.support import ROOT

ACCOUNT = "000000000003"
REGION = "us-east-1"
ARN = f"{REGION}:{ACCOUNT}"
QUEUE = f"arn:aws:sqs:{ARN}:q"
TOPIC = f"arn:aws:sns:{ARN}:t"
PATTERN = {"source": ["aws.sagemaker"], "detail": {"Status": ["Failed"]}}


@pytest.fixture
def notices() -> Iterator[Notices]:
    backends = (sqs_backends, sns_backends, events_backends, logs_backends)
    sqs_backends[ACCOUNT][REGION].create_queue("q")
    sns_backends[ACCOUNT][REGION].create_topic("t")
    sns_backends[ACCOUNT][REGION].subscribe(TOPIC, QUEUE, "sqs")
    yield Notices(ACCOUNT, REGION, contextlib.nullcontext)
    for backend in backends:
        backend[ACCOUNT][REGION].reset()


def add_rule(*targets: str, **members: Any) -> None:
    backend = events_backends[ACCOUNT][REGION]
    backend.put_rule("r", event_pattern=json.dumps(PATTERN), **members)
    entries = [{"Id": str(index), "Arn": arn} for index, arn in enumerate(targets)]
    backend.put_targets("r", None, entries)


def read() -> list[Any]:
    queue = sqs_backends[ACCOUNT][REGION].get_queue("q")
    return [json.loads(message.body) for message in queue.messages]


def send(notices: Notices, status: str) -> None:
    notices.send_event("SageMaker Job", ["arn"], {"Status": status})


def test_a_message_reaches_the_queue_of_a_topic(notices: Notices) -> None:
    notices.publish(TOPIC, "hello")
    assert [message["Message"] for message in read()] == ["hello"]
    with pytest.raises(UserError, match="-nowhere: Endpoint does not exist"):
        notices.publish(f"{TOPIC}-nowhere", "hello")


def test_moto_is_imported_where_one_thread_does_it() -> None:
    program = f"""
import contextlib, sys
from local_test.aws.moto.notices.notices import Notices
@contextlib.contextmanager
def keeping():
    print("moto" in sys.modules)
    yield
with contextlib.suppress(Exception):
    Notices({ACCOUNT!r}, {REGION!r}, keeping).publish({TOPIC!r}, "hello")
print("moto" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    assert done.stdout == "False\nTrue\n"


def test_an_event_reaches_every_target_of_the_rules_that_match(
    notices: Notices, capsys: pytest.CaptureFixture[str]
) -> None:
    logs_backends[ACCOUNT][REGION].create_log_group("g", {})
    group = f"arn:aws:logs:{ARN}:log-group:g"
    add_rule(QUEUE, TOPIC, group, f"arn:aws:kinesis:{ARN}:stream/s")
    send(notices, "Completed")
    assert read() == []
    send(notices, "Failed")
    [event, message] = read()
    assert json.loads(message["Message"])["id"] == event["id"]
    assert (event["detail-type"], event["source"]) == ("SageMaker Job", "aws.sagemaker")
    assert (event["resources"], event["detail"]) == (["arn"], {"Status": "Failed"})
    assert event["time"].endswith("Z")
    [stream] = logs_backends[ACCOUNT][REGION].groups["g"].streams.values()
    assert json.loads(stream.events[0].message)["id"] == event["id"]
    assert "cannot send to arn:aws:kinesis" in capsys.readouterr().err


def test_a_target_gets_the_text_that_it_asks_for(notices: Notices) -> None:
    add_rule(QUEUE)
    [rule] = events_backends[ACCOUNT][REGION].event_buses["default"].rules.values()
    template = {"InputPathsMap": {"s": "$.detail.Status"}, "InputTemplate": '{"status": "<s>"}'}
    for changes in ({"InputTransformer": template}, {"Input": '{"fixed": 1}'}):
        rule.targets = [{"Id": "0", "Arn": QUEUE, **changes}]
        send(notices, "Failed")
    assert read() == [{"status": "Failed"}, {"fixed": 1}]


def test_a_disabled_rule_sends_nothing(notices: Notices) -> None:
    add_rule(QUEUE, state="DISABLED")
    send(notices, "Failed")
    assert read() == []
