"""moto's backends keep what they have when they are written and read."""

from __future__ import annotations

import collections
import threading
import weakref
from typing import Any

import pytest
from moto.core.base_backend import BackendDict, BaseBackend

from local_test.aws.moto.snapshots import backends


class Thing:
    """Something that is shared."""


class Counts(collections.defaultdict[str, int]):
    """A subclass that pickle cannot make again by itself."""

    def __init__(self, region: str) -> None:
        super().__init__(int)
        self.region = region


class Played(BaseBackend):
    """A backend with everything that pickle cannot write."""

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.lock = threading.Lock()
        self.reentrant = threading.RLock()
        self.things = {"arn:aws:x:r:1:thing/a": Thing()}
        self.weak = weakref.WeakValueDictionary(self.things)
        self.nested: Any = collections.defaultdict(lambda: collections.defaultdict(list))
        self.plain: Any = collections.defaultdict(int)
        self.counts = Counts(region_name)
        self.other: Any = None


played_backends = BackendDict(Played, "sns")


@pytest.fixture
def played() -> Any:
    return played_backends["000000000003"]["us-east-1"]


def test_a_backend_is_the_same_after_it_was_written(played: Any) -> None:
    played.nested["a"]["b"].append(1)
    played.plain["c"] += 2
    played.counts["d"] += 3
    played.other = played_backends["000000000003"]["eu-west-1"]
    state = backends.dump(played)
    played.reset()
    backends.load(played, state)

    assert played.nested == {"a": {"b": [1]}}
    assert played.nested["new"]["new"] == []
    assert played.nested["new"] is not played.nested["other"]
    assert played.plain["none"] == 0
    assert (played.counts, played.counts["e"], played.counts.region) == (
        {"d": 3, "e": 0},
        0,
        "us-east-1",
    )
    assert played.other is played_backends["000000000003"]["eu-west-1"]
    ((name, thing),) = played.weak.items()
    assert thing is played.things[name]
    for lock in (played.lock, played.reentrant):
        with lock:
            pass
    assert backends.list_names(state) == ["arn:aws:x:r:1:thing/a"]


def test_a_backend_is_found_by_its_name(played: Any) -> None:
    assert backends.find(backends.name(played)) is played
    with pytest.raises(LookupError, match="moto has no"):
        backends.find(f"{__name__}:Other:1:us-east-1")


def test_what_has_no_form_is_named(played: Any) -> None:
    played.plain = {"key": (item for item in ())}
    with pytest.raises(TypeError, match="generator"):
        backends.dump(played)
    assert "plain key" in backends.list_keys(played)


def test_a_backend_that_changes_meanwhile_is_read_again(
    played: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = []

    class Changing:
        def __reduce__(self) -> Any:
            turns.append(len(turns))
            if len(turns) < 3:
                raise RuntimeError("dictionary changed size during iteration")
            return list, ()

    played.plain = Changing()
    assert backends.dump(played)
    assert len(turns) == 3
    turns[:] = [-1]
    monkeypatch.setattr(backends, "_TRIES", 1)
    with pytest.raises(RuntimeError):
        backends.dump(played)
