"""Requests that pass one container, or a chain of them, or the one that they name (PIP-1)."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from container.errors import RequestError
from local_test.endpoints.invocation import Answer
from local_test.endpoints.server import Server
from local_test.endpoints.variants.replica import Place, Replica
from local_test.requests.model_containers import list_containers

TARGET = "x-amzn-sagemaker-target-container-hostname"


class Container:
    """A client that appends its name to each body, and remembers the headers."""

    def __init__(self, name: str, status: int = 200) -> None:
        self.name = name
        self.status = status
        self.seen: list[dict[str, str]] = []

    def post(self, path: str, body: bytes, headers: Mapping[str, str], **_: Any) -> Answer:
        """Append the name, and raise if the status is 0."""
        assert path == "/invocations"
        self.seen.append(dict(headers))
        if not self.status:
            raise RequestError(424, "the connection broke")
        answer = {"content-type": f"text/{self.name}"}
        body += self.name.encode()
        findings = (f"finding of {self.name}",)
        return Answer(self.status, answer, body, "v", 0.0, 1.0, 2.0, findings=findings)

    def stream(self, body: bytes, headers: Mapping[str, str]) -> bytes:
        """Append the name."""
        assert headers
        return body + self.name.encode()


def make_replica(*containers: Container, mode: str = "Serial") -> Replica:
    definitions = [{"Image": "i", "ContainerHostname": item.name} for item in containers]
    model = {"Containers": definitions, "InferenceExecutionConfig": {"Mode": mode}}
    places = [
        Place(served, cast("Server", SimpleNamespace(client=client, is_healthy=True)))
        for served, client in zip(list_containers(model), containers, strict=True)
    ]
    return Replica("v-1", model, places)


def test_the_output_of_one_is_the_input_of_the_next_with_its_content_type() -> None:
    a, b, c = Container("a"), Container("b"), Container("c")
    headers = {"content-type": "text/csv", "accept": "text/c", "x-amzn-sagemaker-inference-id": "1"}

    answer = make_replica(a, b, c).answer(b">", headers)

    assert (answer.body, answer.headers, answer.source) == (
        b">abc",
        {"content-type": "text/c"},
        "c",
    )
    kept = {"x-amzn-sagemaker-inference-id": "1"}
    assert a.seen == [{"content-type": "text/csv", **kept}]
    assert b.seen == [{"content-type": "text/a", **kept}]
    assert c.seen == [{"content-type": "text/b", "accept": "text/c", **kept}]
    assert (answer.first_byte_s, answer.total_s) == (5.0, 6.0)
    assert answer.findings == tuple(f"{name}: finding of {name}" for name in "abc")


def test_an_error_ends_the_chain_and_names_its_container() -> None:
    c = Container("c")
    answer = make_replica(Container("a"), Container("b", 415), c).answer(b">", {})

    assert (answer.status, answer.source, answer.body, c.seen) == (415, "b", b">ab", [])
    with pytest.raises(RequestError, match="b: the connection broke"):
        make_replica(Container("a"), Container("b", 0), c).answer(b">", {})
    with pytest.raises(RequestError, match="a: status 302 is neither an output"):
        make_replica(Container("a", 302), c).answer(b">", {})
    assert make_replica(c, Container("a", 302)).answer(b">", {}).status == 302


def test_a_direct_request_reaches_the_container_that_it_names_only() -> None:
    a, b = Container("a"), Container("b")
    replica = make_replica(a, b, mode="Direct")

    answer = replica.answer(b">", {TARGET: "b", "accept": "text/b"})

    assert (answer.body, a.seen, b.seen[0]["accept"]) == (b">b", [], "text/b")
    assert cast("bytes", replica.stream(b">", {TARGET: "a"})) == b">a"
    with pytest.raises(RequestError, match="required; choose one of a, b"):
        replica.answer(b">", {})
    with pytest.raises(RequestError, match="'z' does not exist; choose one of a, b"):
        replica.answer(b">", {TARGET: "z"})


def test_what_a_pipeline_cannot_do_is_refused() -> None:
    replica = make_replica(Container("a"), Container("b"))
    with pytest.raises(RequestError, match="leave it out"):
        replica.answer(b">", {TARGET: "a"})
    with pytest.raises(RequestError, match="does not stream"):
        replica.stream(b">", {})
    with pytest.raises(RequestError, match="TargetModel is for multi-model"):
        replica.answer(b">", {"x-amzn-sagemaker-target-model": "m"})
