"""Which jobs are computed together."""

from __future__ import annotations

from container.serving.handover.batch_queue import BatchQueue


def test_what_waits_is_computed_together_up_to_the_maximum() -> None:
    batches: list[list[int]] = []
    queue: BatchQueue[int] = BatchQueue(batches.append, jobs_maximum=3, delay_s=0)
    for job in range(5):
        queue.put(job)
    for _ in range(5):
        queue.run()
    assert batches == [[0, 1, 2], [3, 4]]


def test_a_single_client_never_waits_and_expected_jobs_are_waited_for() -> None:
    batches: list[list[int]] = []
    queue: BatchQueue[int] = BatchQueue(batches.append, jobs_maximum=3, delay_s=3600)
    for job in range(3):  # an hour's delay would be a hang
        queue.put(job)
        queue.run()
    assert batches == [[0], [1], [2]]
