"""Finds, in a launcher's output, the rank that failed first, and what that rank wrote.

When one rank fails its peers lose their connections and fail, too, in this host and in others.
Launchers see all of them end at nearly the same time, so a rank that only lost a peer is never
taken for the cause while another one can be.
"""

import dataclasses
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from container.user_packages.supervision import Outcome

# [rank1]: of torchrun's prefix and of torch's own excepthook, [default0]: of an old torchrun,
# [1,0]<stderr>: of mpirun.
_PREFIX: Final = re.compile(r"\[(?:rank|default|\d+,)(\d+)\](?:<std(?:err|out)>)?: ?")
# Version 4 of mpirun tags each piece that a rank writes, also within a line.
_TAG_WITHIN: Final = re.compile(r"(?<=[^\n])\[\d+,\d+\]<std(?:err|out)>:")
_LOST_PEER: Final = re.compile(
    r"Connection (closed by peer|reset by peer|refused)|Broken pipe|Socket closed"
    r"|remote process exited|NCCL error|DistNetworkError|DistStoreError|DistBackendError"
    r"|failed to recv|recvValue failed|Application timeout caused pair closure"
)
# Of torchrun: the first block is marked as the root cause, and comes last.
_TORCHRUN_FAILURE: Final = re.compile(
    r"^  rank +: (\d+) \(local_rank: \d+\)\n  exitcode +: (-?\d+)", re.MULTILINE
)
# Of mpirun, versions 4 and 5.
_MPIRUN_EXIT: Final = re.compile(r"Process name: \[.*?,(\d+)\]\s+Exit code: +(\d+)")
_MPIRUN_SIGNAL: Final = re.compile(r"process rank (\d+) with PID .*? exited on\s+signal (\d+)")
_MPI_ABORT: Final = re.compile(
    r"MPI_ABORT was invoked on rank (\d+) .*?errorcode:? (\d+)", re.IGNORECASE | re.DOTALL
)
_TRACEBACK: Final = "Traceback (most recent call last):"
_SIGTERM: Final = -15


@dataclass(frozen=True)
class RankFailure:
    """The rank that failed first, as far as this host knows."""

    rank: int
    outcome: Outcome
    """The end of that rank: its exit code, and only its lines."""
    lost_peer: bool
    """It failed because a rank that is not on this host did."""

    def describe(self, launcher: str) -> str:
        """Say which rank failed, for the failure reason."""
        if self.lost_peer:
            return (
                f"rank {self.rank} of {launcher} lost a rank on another host, whose log has the "
                "cause"
            )
        return f"rank {self.rank} of {launcher} failed first"


def find_first_failure(outcome: Outcome) -> RankFailure | None:
    """Find the rank that failed first, or None if the launcher itself failed."""
    errors = outcome.error_tail.decode(errors="replace")
    written = _split(errors)
    exit_codes = dict(_list_failures(errors))
    if not exit_codes:  # mpirun may end before it reports the rank
        failed = [rank for rank, lines in written.items() if _TRACEBACK in lines]
        exit_codes = dict.fromkeys(failed, outcome.exit_code)
    if not exit_codes:
        return None
    if not any(written.values()):
        written = _split(outcome.output_tail.decode(errors="replace"))
    causes = [
        rank
        for rank, code in exit_codes.items()
        if code != _SIGTERM and not _LOST_PEER.search("\n".join(written.get(rank, [])[-3:]))
    ]
    rank = causes[0] if causes else next(iter(exit_codes))
    code = exit_codes[rank]
    end = dataclasses.replace(
        outcome,
        exit_code=128 - code if code < 0 else code,
        error_tail="\n".join(written.get(rank, [])).encode(),
        output_tail=b"",
    )
    return RankFailure(rank, end, lost_peer=not causes)


def _list_failures(text: str) -> Iterator[tuple[int, int]]:
    """List ranks and exit codes (minus the signal, if one ended it), the first failure first."""
    failures = _TORCHRUN_FAILURE.findall(text)
    for rank, code in failures[-1:] + failures[:-1]:
        yield int(rank), int(code)
    for rank, code in _MPI_ABORT.findall(text) + _MPIRUN_EXIT.findall(text):
        yield int(rank), int(code)
    for rank, number in _MPIRUN_SIGNAL.findall(text):
        yield int(rank), -int(number)


def _split(text: str) -> dict[int, Sequence[str]]:
    """Split lines by the rank in their prefix, and remove the prefix."""
    lines: dict[int, list[str]] = {}
    for line in _TAG_WITHIN.sub("", text).splitlines():
        prefix = _PREFIX.match(line)
        if prefix is None:
            continue
        rest = line[prefix.end() :]
        again = _PREFIX.match(rest)
        lines.setdefault(int(prefix[1]), []).append(rest[again.end() :] if again else rest)
    return dict(lines)
