"""The graph of a pipeline: the order of its steps, and which step follows which."""

from __future__ import annotations

from local_test.aws.console.pipeline_page import find_edges, sort_steps
from local_test.aws.sagemaker.pipelines.definition import Step


def make(**needs: str) -> dict[str, Step]:
    """Make steps, each with the names of the steps that it needs."""
    return {
        name: Step(name, "Training", {}, frozenset(needed), None) for name, needed in needs.items()
    }


def test_each_step_comes_after_those_that_it_needs_in_the_order_of_the_definition() -> None:
    steps = make(d="bc", b="a", c="a", a="")
    assert sort_steps(steps) == ["a", "b", "c", "d"]
    assert sort_steps(make(z="", y="", x="zy")) == ["z", "y", "x"]


def test_an_edge_that_follows_from_others_is_left_out() -> None:
    edges = find_edges(make(a="", b="a", c="ab", d="abc", e="a"))
    assert sorted(edges) == [("a", "b"), ("a", "e"), ("b", "c"), ("c", "d")]
