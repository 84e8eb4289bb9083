"""What a violation says about the checks that follow: those that are not run, because of it."""

from collections.abc import Collection, Mapping
from typing import Final

from local_test.conformance.catalog import Verdict, skip
from local_test.conformance.sessions import job_end_checks, plain_job_checks
from local_test.conformance.sessions.server_session import ENDED

_NEVER_HEALTHY: Final = ("IMG-1b", "HO-1a", "HO-5a")
"""After one of these every other server would fail as the first did, each at the start limit."""
CAUSES: Final = frozenset({"HO-4a"})
"""Can be the cause of the violations above, and is named if it was asked for by itself."""
_PLAIN_JOB_FAILS: Final = ("OUT-1a", "TF-1a", "TF-4a", "HP-1a")
"""After one of these every other job would fail as the plain one did."""
MACHINE_FAILED: Final = "this machine failed: "
"""How the evidence begins where a check could not be made."""
_NEEDS_MODEL: Final = ("IMG-1b", "HO-5a", "HO-6a")
_NO_MODEL: Final = ("IMG-1a", *_PLAIN_JOB_FAILS, "OUT-3a")


def _find_violation(identities: Collection[str], verdicts: Mapping[str, Verdict]) -> str:
    for identity in identities:
        if identity in verdicts and verdicts[identity].is_violation:
            return identity
    return ""


def of_training(ids: Collection[str], verdicts: Mapping[str, Verdict]) -> str:
    """Return why a session of training jobs need not run, or an empty string."""
    if set(ids) <= {*plain_job_checks.PLAIN_IDS, *job_end_checks.PROCESSING_IDS}:
        return ""
    if _find_violation(["IMG-1a"], verdicts):
        return "not run: training could not be started (IMG-1a)"
    cause = _find_violation(_PLAIN_JOB_FAILS, verdicts)
    if cause and not set(ids) <= set(job_end_checks.FAILURE_IDS):
        return f"not run: the plain training job failed ({cause}), so this one would"
    return ""


def of_serving(verdicts: Mapping[str, Verdict]) -> str:
    """Return why a session of servers need not run, or an empty string."""
    cause = _find_violation(_NEVER_HEALTHY, verdicts)
    if not cause and "HO-5a" in verdicts and verdicts["HO-5a"].outcome == "not applicable":
        cause = _find_violation(["HO-4a"], verdicts)
        if not cause:
            return f"not run: {verdicts['HO-5a'].evidence}"
    return f"not run: the server never became healthy ({cause})" if cause else ""


def excuse(verdict: Verdict, verdicts: Mapping[str, Verdict], *, has_model: bool) -> Verdict:
    """Return the verdict itself, or that it says nothing since no model was trained."""
    if verdict.is_violation and verdict.evidence.startswith(ENDED):
        cause = _find_violation(["RQ-8b"], verdicts)
        if cause and verdict.check.id != cause and verdicts[cause].evidence.startswith(ENDED):
            return skip(verdict.check.id, f"not run: servers end by themselves ({cause})")
    cause = _find_violation(_NO_MODEL, verdicts)
    if not cause or not verdict.is_violation:
        return verdict
    if verdict.check.id == "OUT-7a":
        return skip("OUT-7a", f"it leaves no model in any case ({cause})")
    if verdict.check.id in _NEEDS_MODEL and not has_model:
        reason = f"{verdict.evidence}; but no model was trained ({cause}): pass one with --model"
        return skip(verdict.check.id, reason)
    return verdict
