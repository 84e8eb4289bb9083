"""The checks that `catalog.toml` lists, and the verdicts on them."""

import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

Severity = Literal["MUST", "SHOULD"]
Outcome = Literal["pass", "fail", "not applicable"]


@dataclass(frozen=True)
class Check:
    """One check; its `id` is the contract's clause and a letter."""

    id: str
    severity: Severity
    claim: str
    remedy: str

    @property
    def clause(self) -> str:
        """The contract's clause."""
        return self.id.rstrip("abcdefgh")


@dataclass(frozen=True)
class Verdict:
    """What a check found."""

    check: Check
    outcome: Outcome
    evidence: str

    @property
    def is_violation(self) -> bool:
        """Whether the container breaks the clause."""
        return self.outcome == "fail"


def _load() -> dict[str, Check]:
    text = Path(__file__).with_name("catalog.toml").read_text(encoding="utf-8")
    return {identity: Check(identity, **entry) for identity, entry in tomllib.loads(text).items()}


CHECKS: Final = _load()


def judge(
    identity: str,
    is_kept: bool,  # noqa: FBT001 - reads as a sentence
    evidence: str,
) -> Verdict:
    """Return the verdict of a check that was made."""
    return Verdict(CHECKS[identity], "pass" if is_kept else "fail", evidence)


def skip(identity: str, reason: str) -> Verdict:
    """Return the verdict of a check that says nothing about this container."""
    return Verdict(CHECKS[identity], "not applicable", reason)


def skip_all(identities: Iterable[str], reason: str) -> Iterator[Verdict]:
    """Skip several checks for one reason."""
    for identity in identities:
        yield skip(identity, reason)
