"""Metrics are found in a log as metric definitions would find them."""

from __future__ import annotations

import pytest

from container import contract
from container.training.tracking.metric_lines import MetricReader, Value


def test_what_the_contract_formats_is_read(  # HPO-1
) -> None:
    metrics = {"epoch": 2, "train_loss": 1.5e-7, "validation_accuracy": 0.75}
    line = f"{contract.format_metrics(metrics)}\n".encode()

    assert MetricReader().feed(line) == [
        Value("epoch", 2.0, 2),
        Value("train_loss", 1.5e-7, 2),
        Value("validation_accuracy", 0.75, 2),
    ]


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("loss=0.5;", ["loss"]),
        ("[rank 0] loss=0.5; acc=.9; lr=+1e-3;", ["loss", "acc", "lr"]),
        ("val.loss-1=-2;", ["val.loss-1"]),
        ("loss=0.5", []),  # no end: no metric definition of ours matches it
        ("  SM_HP_LR=0.1", []),
        ("a.loss=1;", ["a.loss"]),
        ("loss=1.2.3; acc=nan; x=inf; y=1e999; z=e;", []),
        ("loss = 1;", []),
        ("=1;", []),
    ],
)
def test_only_complete_finite_numbers_count(line: str, names: list[str]) -> None:
    assert [value.name for value in MetricReader().feed(f"{line}\n".encode())] == names


def test_without_a_step_the_values_are_counted() -> None:
    reader = MetricReader()
    values = reader.feed(b"loss=3;\nloss=2;\nstep=9; loss=1;\nloss=0;\n")
    steps = [value.step for value in values if value.name == "loss"]
    assert steps == [0, 1, 9, 3]


def test_lines_may_come_in_any_pieces() -> None:
    log = b"epoch=1; loss=0.5;\r\n\xff\xfe loss=0.25;\n" * 3
    whole = MetricReader().feed(log)
    reader = MetricReader()
    pieces = [value for start in range(len(log)) for value in reader.feed(log[start : start + 1])]
    assert pieces == whole
    assert len(whole) == 9


def test_an_endless_line_is_not_kept() -> None:
    reader = MetricReader()
    for _ in range(64):
        assert reader.feed(b"x" * (1 << 16)) == []
    assert reader.feed(b"\nloss=1;\n") == [Value("loss", 1.0, 0)]
