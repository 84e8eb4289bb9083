"""Which rank failed first, by what torchrun 2.13 and mpirun 4 and 5 print."""

from __future__ import annotations

import pytest

from container.training.launching.ranks import find_first_failure
from container.user_packages.supervision import Outcome

TRACEBACK = """{prefix}Traceback (most recent call last):
{prefix}  File "/opt/ml/code/train.py", line 5, in <module>
{prefix}    main()
{prefix}{error}
"""
LOST = (
    "RuntimeError: [gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:16287. "
    "This is typically caused by a remote worker crashing."
)
TORCHRUN_END = """E1128 17:06:12.469000 24800 torch/api.py:1002] failed (exitcode: 1) local_rank: 1
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
train.py FAILED
------------------------------------------------------------
Failures:
[1]:
  time      : 2026-11-28_17:06:12
  host      : localhost
  rank      : {other} (local_rank: 0)
  exitcode  : {other_code} (pid: 25037)
  error_file: <N/A>
  traceback : Signal 15 (SIGTERM) received by PID 25037
------------------------------------------------------------
Root Cause (first observed failure):
[0]:
  time      : 2026-11-28_17:06:12
  host      : localhost
  rank      : {root} (local_rank: 1)
  exitcode  : {code} (pid: 25040)
  error_file: <N/A>
  traceback : To enable traceback see: https://pytorch.org/docs/stable/elastic/errors.html
============================================================
"""


def write(rank: int, error: str) -> str:
    return TRACEBACK.format(prefix=f"[rank{rank}]: [rank{rank}]: ", error=error)


def end(errors: str, output: str = "") -> Outcome:
    return Outcome(1, error_tail=errors.encode(), output_tail=output.encode())


def test_the_root_cause_of_torchrun_is_named_with_its_own_lines() -> None:
    text = write(1, "ValueError: the cause") + write(0, LOST)
    text += TORCHRUN_END.format(root=1, code=1, other=0, other_code=-15)

    failure = find_first_failure(end(text))

    assert failure is not None
    assert (failure.rank, failure.outcome.exit_code, failure.lost_peer) == (1, 1, False)
    assert failure.outcome.error_tail.decode().splitlines()[-1] == "ValueError: the cause"
    assert b"Connection closed" not in failure.outcome.error_tail


def test_a_rank_that_lost_its_peer_is_not_the_cause_even_if_torchrun_saw_it_first() -> None:
    text = write(0, LOST) + write(1, "ValueError: the cause")
    text += TORCHRUN_END.format(root=0, code=1, other=1, other_code=3)

    failure = find_first_failure(end(text))

    assert failure is not None
    assert (failure.rank, failure.outcome.exit_code, failure.lost_peer) == (1, 3, False)


def test_a_host_whose_ranks_only_lost_a_peer_says_so() -> None:
    text = write(2, LOST) + TORCHRUN_END.format(root=2, code=1, other=3, other_code=-15)

    failure = find_first_failure(end(text))

    assert failure is not None
    assert failure.lost_peer
    assert "lost a rank on another host" in failure.describe("torchrun")


@pytest.mark.parametrize(("code", "exit_code"), [(-9, 137), (-11, 139), (7, 7)])
def test_the_exit_code_is_the_ranks(code: int, exit_code: int) -> None:
    text = TORCHRUN_END.format(root=1, code=code, other=0, other_code=-15)

    failure = find_first_failure(end(text))

    assert failure is not None
    assert failure.outcome.exit_code == exit_code


@pytest.mark.parametrize(
    "text",
    [
        "   Process name: [prterun-host-123@1,1]\n   Exit code:    3\n",
        "  Process name: [[59023,1],1]\n  Exit code:    3\n",
        "MPI_ABORT was invoked on rank 1 in communicator MPI_COMM_WORLD\nwith errorcode 3.\n",
        "[1,1]<stderr>: MPI_ABORT was invoked on rank 1 in\n[1,1]<stderr>:   Errorcode: 3\n",
    ],
)
def test_the_first_failure_of_mpirun_is_named_with_its_own_lines(text: str) -> None:
    lines = TRACEBACK.format(prefix="[1,1]<stderr>: ", error="ValueError: the cause")

    failure = find_first_failure(end(lines + text))

    assert failure is not None
    assert (failure.rank, failure.outcome.exit_code) == (1, 3)
    assert "ValueError: the cause" in failure.outcome.error_tail.decode().splitlines()


def test_a_line_that_mpirun_tags_piece_by_piece_is_one_line() -> None:
    tag = "[1,1]<stderr>:"
    text = f"{tag}ValueError{tag}: {tag}the cause{tag}\n"

    failure = find_first_failure(end(text + "  Process name: [[59023,1],1]\n  Exit code:    3\n"))

    assert failure is not None
    assert failure.outcome.error_tail == b"ValueError: the cause"


def test_a_signal_reported_by_mpirun_is_the_ranks_end() -> None:
    text = "mpirun noticed that process rank 1 with PID 123 on node a exited on signal 9 (Killed)."

    failure = find_first_failure(end(text))

    assert failure is not None
    assert (failure.rank, failure.outcome.exit_code) == (1, 137)


def test_a_launcher_that_failed_by_itself_has_no_rank() -> None:
    assert find_first_failure(end("torch.distributed.DistStoreError: timed out\n")) is None


def test_a_rank_that_mpirun_does_not_report_is_found_by_its_traceback() -> None:
    text = TRACEBACK.format(prefix="[1,2]<stderr>:", error="ValueError: the cause")
    failure = find_first_failure(end("[1,0]<stderr>:a warning\n" + text))
    assert failure is not None
    assert (failure.rank, failure.outcome.exit_code) == (2, 1)
    assert failure.outcome.error_tail.endswith(b"\nValueError: the cause")
    assert find_first_failure(end("Traceback (most recent call last):\nOSError: x\n")) is None
