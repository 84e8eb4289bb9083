"""Metrics are found in a log as metric definitions would find them."""

from __future__ import annotations

import time

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
        ("--lr=0.1; 5-fold_acc=1; x--y=2; a=b=3; n=1=2;", ["lr", "fold_acc", "x--y", "b"]),
        ("é.loss=1; lossé=2;", ["lossé"]),
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


def test_the_last_line_may_have_no_end() -> None:
    reader = MetricReader()
    assert reader.feed(b"loss=1;\nloss=2;") == [Value("loss", 1.0, 0)]
    assert reader.feed(b"\n") == [Value("loss", 2.0, 1)]
    assert reader.feed(b"\n") == []


def test_a_step_that_no_integer_of_64_bits_holds_is_counted() -> None:
    assert MetricReader().feed(b"epoch=1e300; loss=1;\n")[1] == Value("loss", 1.0, 0)


def test_a_line_takes_a_time_that_grows_with_its_length() -> None:
    started = time.process_time()
    for text in (b"a-" * 32_000, b"=1" * 32_000, b"1-" * 32_000, b"." * 64_000):
        assert MetricReader().feed((text + b" x=1;\n") * 4) in (
            [],
            [Value("x", 1.0, n) for n in range(4)],
        )
    assert time.process_time() - started < 20  # minutes, if it grew with the square
