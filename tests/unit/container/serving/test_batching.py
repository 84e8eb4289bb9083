"""Predictions made together for several threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from container.errors import RequestError
from container.serving.batching import Batcher
from tests.support import wait_until


def make_images(size: int, seed: int) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (size, 2, 2, 1), np.uint8)


def predict(images: Any) -> Any:
    """Return two probabilities of each image, from that image only."""
    share = images.mean(axis=(1, 2, 3), dtype=np.float32) / 255
    return np.stack([share, 1 - share], axis=1)


def make_batcher(run: Callable[[Any], Any] = predict, **options: Any) -> tuple[Batcher, list[int]]:
    batches: list[int] = []
    defaults: dict[str, Any] = {
        "images_maximum": 16,
        "delay_s": 0.0,
        "timeout_s": 30.0,
        "observe": batches.append,
    }
    return Batcher(run, **{**defaults, **options}), batches


class Gate:
    """A model whose first prediction waits for the gate, so that others gather behind it."""

    def __init__(self, run: Callable[[Any], Any] = predict) -> None:
        """`run` predicts."""
        self.run = run
        self.begun = threading.Event()
        self.opened = threading.Event()
        self.sizes: list[int] = []

    def predict(self, images: Any) -> Any:
        """Predict, the first time after the gate has been opened."""
        self.sizes.append(len(images))
        self.begun.set()
        assert self.opened.wait(30)
        return self.run(images)


def ask_behind(gate: Gate, batcher: Batcher, requests: Sequence[Any]) -> list[Any]:
    """Send the requests one after the other, then open the gate; return what each got."""
    outcomes: list[Any] = [None] * (len(requests) + 1)

    def ask(index: int, images: Any) -> None:
        try:
            outcomes[index] = batcher.predict(images)
        except Exception as error:  # noqa: BLE001 - it is what is asserted on
            outcomes[index] = error

    threads = [threading.Thread(target=ask, args=(0, make_images(1, 0)))]
    threads[0].start()
    assert gate.begun.wait(30)
    for index, images in enumerate(requests):
        threads.append(threading.Thread(target=ask, args=(index + 1, images)))
        threads[-1].start()
        waiting = batcher._waiting  # noqa: SLF001 - nothing else shows that a request waits
        wait_until(lambda count=index + 1, waiting=waiting: len(waiting) == count)  # type: ignore[misc]
    gate.opened.set()
    for thread in threads:
        thread.join()
    return outcomes[1:]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 20), min_size=1, max_size=10))
def test_batched_answers_are_those_of_each_request_alone(sizes: list[int]) -> None:
    gate = Gate()
    batcher, batches = make_batcher(gate.predict)
    requests = [make_images(size, seed) for seed, size in enumerate(sizes)]

    answers = ask_behind(gate, batcher, requests)

    for images, answer in zip(requests, answers, strict=True):
        assert np.array_equal(answer, predict(images))
    assert sum(batches) == len(sizes) + 1
    assert all(size <= 16 or size in sizes for size in gate.sizes)


def test_requests_that_gather_are_one_prediction_in_their_order() -> None:
    seen: list[Any] = []

    def remember(images: Any) -> Any:
        seen.append(images)
        return predict(images)

    gate = Gate(remember)
    batcher, batches = make_batcher(gate.predict)
    requests = [make_images(2, seed) for seed in range(5)]

    ask_behind(gate, batcher, requests)

    assert batches == [1, 5]
    assert np.array_equal(seen[1], np.concatenate(requests))


def test_batch_holds_no_more_images_than_it_may() -> None:
    gate = Gate()
    batcher, _ = make_batcher(gate.predict, images_maximum=4)

    ask_behind(gate, batcher, [make_images(size, size) for size in (3, 1, 2, 3, 9, 1)])

    assert gate.sizes == [1, 4, 2, 3, 9, 1]


def test_fault_of_one_request_harms_no_other() -> None:
    def refuse_white(images: Any) -> Any:
        if (images == 255).all(axis=(1, 2, 3)).any():
            message = "white"
            raise ValueError(message)
        return predict(images)

    gate = Gate(refuse_white)
    batcher, _ = make_batcher(gate.predict)
    white = np.full((1, 2, 2, 1), 255, np.uint8)
    requests = [make_images(2, 1), white, make_images(3, 2)]

    answers = ask_behind(gate, batcher, requests)

    assert np.array_equal(answers[0], predict(requests[0]))
    assert isinstance(answers[1], ValueError)
    assert np.array_equal(answers[2], predict(requests[2]))
    assert np.array_equal(batcher.predict(requests[0]), predict(requests[0]))


def test_request_whose_turn_does_not_come_in_time_is_503_and_leaves_the_others_theirs() -> None:
    gate = Gate()
    batcher, _ = make_batcher(gate.predict, timeout_s=0.05)
    first = threading.Thread(target=batcher.predict, args=(make_images(1, 0),))
    first.start()
    assert gate.begun.wait(30)

    with pytest.raises(RequestError, match="too long") as caught:
        batcher.predict(make_images(1, 1))

    assert caught.value.status == 503
    gate.opened.set()
    first.join()
    assert gate.sizes == [1]
    assert len(batcher.predict(make_images(2, 2))) == 2


def test_client_alone_never_waits_and_one_of_several_waits_for_the_others() -> None:
    gate = Gate()
    batcher, batches = make_batcher(gate.predict, delay_s=30.0)
    ask_behind(gate, batcher, [make_images(1, seed) for seed in range(3)])
    # As if the prediction had taken so long: then there is time to wait.
    batcher._last_s = 30.0  # noqa: SLF001 - no prediction should take that long
    answers: list[Any] = []
    threads = [
        threading.Thread(target=lambda: answers.append(batcher.predict(make_images(1, 0))))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    batcher.predict(make_images(1, 9))

    assert batches == [1, 3, 3, 1]
    assert len(answers) == 3
