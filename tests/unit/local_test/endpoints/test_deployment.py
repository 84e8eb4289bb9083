"""Requests to an endpoint whose servers change meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from container.errors import RequestError
from local_test.endpoints.deployment import Deployment
from local_test.endpoints.invocation import ReplacedError, Stream, VariantError
from local_test.endpoints.variants.sessions import SESSION
from local_test.endpoints.variants.variant import Variant
from tests.support import wait_until
from tests.unit.local_test.endpoints.played import make_config, make_deployment


def test_requests_of_a_session_go_to_the_replica_that_opened_it() -> None:
    deployment, _ = make_deployment(a=2, b=2)
    headers = {SESSION: "s"}
    opener = deployment.current.variants[1].replicas[1]
    opener.sessions.note({"x-amzn-sagemaker-new-session-id": "s"})

    def ask(**target: str) -> str:
        sent = {
            **headers,
            **{f"x-amzn-sagemaker-target-{key}": name for key, name in target.items()},
        }
        with deployment.lease(deployment.choose(sent), sent) as replica:
            return replica.name

    assert {ask() for _ in range(9)} == {"b-2"}
    assert ask(variant="a").startswith("a-")
    opener.servers[0].is_healthy = False
    assert "b-2" not in {ask() for _ in range(9)}


def start_next(deployment: Deployment) -> Any:
    requests = SimpleNamespace(config=make_config("new", a=1))
    return deployment.starter.start(cast("Any", requests))


def is_closed(variant: Variant) -> bool:
    """Return whether a variant takes no more requests."""
    try:
        with variant.lease():
            return False
    except ReplacedError:
        return True


def test_a_request_to_a_version_that_is_replaced_goes_to_the_new_one() -> None:
    deployment, _ = make_deployment(a=1)
    chosen = deployment.choose_variant(None)
    old = deployment.take_over(start_next(deployment))
    deployment.retire(old, lambda: False)
    with deployment.lease(chosen, {}) as replica:
        assert replica.config == "new"


def test_a_version_stops_after_its_last_request() -> None:
    deployment, starter = make_deployment(a=1)
    chosen = deployment.choose_variant(None)
    with deployment.lease(chosen, {}) as replica:
        old = deployment.take_over(start_next(deployment))
        retiring = threading.Thread(
            target=deployment.retire, args=(old, lambda: False), daemon=True
        )
        retiring.start()
        wait_until(lambda: is_closed(chosen))
        assert replica.config == "old"
        assert "stop old a-1" not in starter.events
    wait_until(lambda: "stop old a-1" in starter.events)


def test_scaling_in_waits_for_requests_too() -> None:
    deployment, starter = make_deployment(a=2)
    (variant,) = deployment.current.variants
    leases = [deployment.lease(variant, {}) for _ in range(2)]
    for lease in leases:
        lease.__enter__()
    resizing = threading.Thread(target=deployment.resize, args=(variant, 1), daemon=True)
    resizing.start()
    wait_until(lambda: len(variant.replicas) == 1)
    assert "stop old a-2" not in starter.events
    for lease in leases:
        lease.__exit__(None, None, None)
    wait_until(lambda: "stop old a-2" in starter.events)


def test_an_error_names_the_variant_and_its_configuration() -> None:
    deployment, _ = make_deployment(a=1)
    chosen = deployment.choose_variant(None)
    with pytest.raises(VariantError) as caught, deployment.lease(chosen, {}):
        raise RequestError(424, "the connection broke")
    error = caught.value
    assert (error.status, str(error), error.variant, error.config) == (
        424,
        "the connection broke",
        "a",
        "old",
    )
    assert chosen.replicas[0].requests == 0


def test_a_stopped_endpoint_answers_nothing() -> None:
    deployment, _ = make_deployment(a=1)
    chosen = deployment.choose_variant(None)
    assert len(deployment.close()) == 1
    with pytest.raises(RequestError, match="being stopped") as caught, deployment.lease(chosen, {}):
        pass
    assert caught.value.status == 503


@pytest.mark.parametrize("how", ["read", "broken", "dropped", "refused"])
def test_a_stream_holds_its_replica_to_its_end(how: str) -> None:
    deployment, _ = make_deployment(a=1)
    (variant,) = deployment.current.variants
    (replica,) = variant.replicas

    def read() -> Iterator[bytes]:
        yield b"a"
        if how == "broken":
            raise RequestError(424, "StreamBroken")

    def open_stream(*_: object) -> Stream:
        if how == "refused":
            raise RequestError(400, "a multi-model endpoint does not stream")
        return Stream(200, {}, read(), "a")

    cast("Any", replica).stream = open_stream
    if how == "refused":
        with pytest.raises(VariantError, match="does not stream"):
            deployment.stream(variant, {}, b"")
    else:
        stream = deployment.stream(variant, {}, b"")
        assert (replica.requests, stream.config) == (1, "old")
        if how == "read":
            assert b"".join(stream.parts) == b"a"
        elif how == "broken":
            with pytest.raises(RequestError, match="StreamBroken"):
                list(stream.parts)
        else:
            del stream
    assert replica.requests == 0


def test_the_shadow_variant_is_looked_up_once_for_a_copy() -> None:
    deployment, _ = make_deployment(a=1)
    copies: list[bytes] = []
    shadow = SimpleNamespace(copy=lambda body, _: copies.append(body))
    looks = iter([shadow, None])  # a deployment takes it away in between

    class Changing:
        @property
        def shadow(self) -> Any:
            return next(looks)

    deployment.current = cast("Any", Changing())
    deployment.copy(b"1", {})
    assert copies == [b"1"]
