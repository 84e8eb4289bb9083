"""moto's state is on disk before an answer leaves, and what is lost is named at the next start."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import moto
import pytest
from moto.cloudwatch.models import cloudwatch_backends
from moto.kms.models import kms_backends
from moto.sns.models import sns_backends
from moto.sqs.models import sqs_backends

from local_test.aws.account.store import Store
from local_test.aws.moto.snapshots import snapshots
from local_test.aws.moto.snapshots.snapshots import Snapshots
from local_test.data.disk import DiskError

ACCOUNT = "000000000004"
REGION = "us-east-1"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], Snapshots]]:
    """Return what plays a start of the local AWS after a kill: moto has forgotten everything."""
    stores: list[Store] = []

    def begin() -> Snapshots:
        for store in stores:
            store.close()
        for services in (cloudwatch_backends, kms_backends, sns_backends, sqs_backends):
            services[ACCOUNT][REGION].reset()
        stores.append(Store(tmp_path / "state.sqlite"))
        return Snapshots(stores[-1], ACCOUNT)

    begin.stores = stores  # type: ignore[attr-defined]
    yield begin
    stores[-1].close()


def make_topic(name: str) -> str:
    return str(sns_backends[ACCOUNT][REGION].create_topic(name).arn)


def list_topics() -> list[str]:
    return [topic.name for topic in sns_backends[ACCOUNT][REGION].topics.values()]


def test_only_what_was_kept_is_back(start: Any) -> None:
    first = start()
    with first.keeping():
        arn = make_topic("kept")
        with first.keeping():  # as SNS within EventBridge
            queue = sqs_backends[ACCOUNT][REGION].create_queue("queue", {})
            sns_backends[ACCOUNT][REGION].subscribe(arn, queue.queue_arn, "sqs")
    with first.keeping():
        make_topic("second")
    make_topic("lost")
    start()
    assert list_topics() == ["kept", "second"]
    sns_backends[ACCOUNT][REGION].publish("hello", arn=arn)
    (message,) = sqs_backends[ACCOUNT][REGION].get_queue("queue").messages
    assert json.loads(message.body)["Message"] == "hello"
    assert start.stores[-1].warnings == []


def test_what_cannot_be_kept_is_named_at_the_next_start_and_then_no_more(start: Any) -> None:
    with start().keeping():
        key = kms_backends[ACCOUNT][REGION].create_key("", "ENCRYPT_DECRYPT", "RSA_2048", "", [])
    start()
    (warning,) = start.stores[-1].warnings
    assert warning.startswith("what kms had before the restart is lost, since moto's objects have")
    assert key.id in warning
    start()
    assert start.stores[-1].warnings == []


def test_the_state_of_another_moto_is_not_read_and_not_thrown_away(
    start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with start().keeping():
        arn = make_topic("today")
    monkeypatch.setattr(moto, "__version__", "6.0")
    start()
    (warning,) = start.stores[-1].warnings
    assert "and 6.0 is installed" in warning
    assert arn in warning
    monkeypatch.undo()
    start()
    assert list_topics() == ["today"]


def test_a_state_that_is_too_large_is_not_kept(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "_MOST_BYTES", 10)
    with start().keeping():
        arn = make_topic("large")
    start()
    (warning,) = start.stores[-1].warnings
    assert "at most 10 are kept" in warning
    assert arn in warning


def test_metrics_of_programs_are_lost_and_alarms_are_not(start: Any) -> None:
    backend = cloudwatch_backends[ACCOUNT][REGION]
    first = start()
    with first.keeping():
        found = cloudwatch_backends[ACCOUNT][REGION]
        for space in ("mine", "AWS/SageMaker"):
            found.put_metric_data(space, [{"MetricName": "m", "Value": 1.0}])
        found.put_dashboard("board", "{}")
    first.keep(backend)
    start()
    assert start.stores[-1].warnings == [
        "the local AWS keeps no data of CloudWatch; lost are metrics of mine"
    ]
    assert (list(backend.dashboards), backend.metric_data) == (["board"], [])


def test_a_change_that_cannot_be_written_is_undone(
    start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = start()
    with kept.keeping():
        make_topic("before")
    other = kept.keeping()
    other.__enter__()  # a request in another thread, as far as the count of undone ones goes
    snapshots._seen.backends = None  # noqa: SLF001 - see above

    def refuse(*_: object, **__: object) -> None:
        raise DiskError("full")

    monkeypatch.setattr(start.stores[-1], "edit", refuse)
    with pytest.raises(DiskError, match="full"), kept.keeping():
        make_topic("lost")
    assert list_topics() == ["before"]
    snapshots._seen.backends = {}  # noqa: SLF001 - see above
    with pytest.raises(DiskError, match="send it again"):
        other.__exit__(None, None, None)
