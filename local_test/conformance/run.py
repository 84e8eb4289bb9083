"""Chooses the checks, runs the sessions that they need, and returns the verdicts in order."""

import types
import urllib.parse
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import Final

from container.errors import PlatformError, RequestError, UserError
from local_test.conformance import image_checks, obstacles
from local_test.conformance.catalog import CHECKS, Verdict, judge, skip, skip_all
from local_test.conformance.sessions import (
    endpoint_kind_checks,
    job_end_checks,
    job_input_checks,
    lifecycle_checks,
    plain_job_checks,
    protocol_checks,
    serving_mode_checks,
)
from local_test.conformance.subject import Session, Sessions, Subject

MODULES: Final = {
    module.__name__.rpartition(".")[2]: module
    for module in (
        image_checks,
        plain_job_checks,
        job_input_checks,
        job_end_checks,
        lifecycle_checks,
        protocol_checks,
        serving_mode_checks,
        endpoint_kind_checks,
    )
}
"""In the order of their sessions; the plain job comes early because serving needs its model."""


def _list_ids(*modules: types.ModuleType) -> frozenset[str]:
    return frozenset(name for module in modules for ids, _ in module.SESSIONS for name in ids)


IMAGE_IDS: Final = _list_ids(image_checks)
TRAINING_IDS: Final = _list_ids(plain_job_checks, job_input_checks, job_end_checks)
SERVING_IDS: Final = _list_ids(
    lifecycle_checks, protocol_checks, serving_mode_checks, endpoint_kind_checks
)


def choose(
    *, train: bool, serve: bool, only: Collection[str], is_url: bool, has_model: bool = False
) -> list[str]:
    """Return the checks that the command's flags ask for.

    Raises: UserError for a check that does not exist, or that is not possible for a URL.
    """
    possible = set(protocol_checks.PROTOCOL_IDS) if is_url else set(CHECKS)
    unknown = set(only) - possible
    if unknown:
        raise UserError(
            f"unknown checks: {', '.join(sorted(unknown))}; "
            f"choose from {', '.join(sorted(possible))}"
        )
    wanted = set(only) or _choose_groups(train=train, serve=serve, has_model=has_model) & possible
    return [identity for identity in CHECKS if identity in wanted]


def _choose_groups(*, train: bool, serve: bool, has_model: bool) -> set[str]:
    if not train and not serve:
        return set(CHECKS)
    wanted = set(IMAGE_IDS)
    if train:
        wanted |= TRAINING_IDS
    if serve:
        wanted |= SERVING_IDS
        if not has_model:
            wanted.add("OUT-1a")  # the job that makes the model
    return wanted


def parse_url(url: str) -> tuple[str, int]:
    """Return host and port of `http://HOST:PORT`. Raises: UserError for anything else."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "http" or not parts.hostname or parts.path.strip("/"):
        raise UserError(f"{url!r} is not of the form http://HOST:PORT")
    return parts.hostname, parts.port or 80


def run(
    subject: Subject,
    identities: Collection[str],
    on_verdict: Callable[[Verdict], None] = lambda _: None,
    on_session: Callable[[], None] = lambda: None,
) -> list[Verdict]:
    """Judge a subject by some checks; `on_session` is called before each of `list_sessions`."""
    verdicts: dict[str, Verdict] = {}
    for ids, session in list_sessions(identities):
        on_session()
        if set(ids) <= SERVING_IDS:
            subject = _prepare_serving(subject, verdicts)
        for verdict in _run_session(subject, ids, session, _find_obstacle(ids, verdicts)):
            known = verdicts.get(verdict.check.id)
            if known and known.is_violation:
                continue
            if verdict.is_violation and verdict.check.id not in obstacles.CAUSES:
                _judge_basis(subject, ids, verdicts)
            found = _excuse(subject, ids, verdict, verdicts)
            verdicts[found.check.id] = found
            if found.check.id in identities:
                on_verdict(found)
    return [verdicts[name] for name in CHECKS if name in verdicts and name in identities]


_BASES: Final = (
    (TRAINING_IDS, plain_job_checks.PLAIN_IDS, plain_job_checks.check_plain),
    (SERVING_IDS, lifecycle_checks.START_IDS, lifecycle_checks.check_start),
)
"""What each group of checks builds on: a job, or a server, in no special situation."""


def _judge_basis(subject: Subject, ids: Collection[str], verdicts: dict[str, Verdict]) -> None:
    """Judge what a violation may be due to, if that was not asked for."""
    for group, basis, session in _BASES:
        if set(ids) <= group and not set(basis) & {*ids, *verdicts} and subject.runner is not None:
            verdicts |= {found.check.id: found for found in _run_session(subject, basis, session)}


def _excuse(
    subject: Subject, ids: Collection[str], verdict: Verdict, verdicts: Mapping[str, Verdict]
) -> Verdict:
    """Return a verdict, or that it says nothing because of a violation that is known."""
    known = verdicts.get(verdict.check.id)
    if known and known.is_violation:
        return known
    obstacle = _find_obstacle(ids, verdicts) if verdict.is_violation else ""
    if obstacle:
        return skip(verdict.check.id, obstacle)
    return obstacles.excuse(verdict, verdicts, has_model=subject.model is not None)


def _prepare_serving(subject: Subject, verdicts: Mapping[str, Verdict]) -> Subject:
    """Add the trained model; let a server that needs it write to it, to judge everything else."""
    needs_writable = "HO-2a" in verdicts and verdicts["HO-2a"].is_violation
    return replace(
        subject,
        model=subject.find_model() if subject.model is None else subject.model,
        is_model_writable=subject.is_model_writable or needs_writable,
    )


def _find_obstacle(ids: Collection[str], verdicts: Mapping[str, Verdict]) -> str:
    """Return why a session need not run, or an empty string."""
    if set(ids) <= SERVING_IDS:
        return obstacles.of_serving(verdicts)
    if set(ids) <= TRAINING_IDS:
        return obstacles.of_training(ids, verdicts)
    return ""


def list_sessions(identities: Collection[str]) -> Sessions:
    """Return the sessions that some checks need, each after the IDs of what it judges."""
    return tuple(
        (ids, session)
        for module in MODULES.values()
        for ids, session in module.SESSIONS
        if set(ids) & set(identities)
    )


def _run_session(
    subject: Subject, ids: tuple[str, ...], session: Session, obstacle: str = ""
) -> Iterator[Verdict]:
    """Yield a session's verdicts; if it breaks off, fail its first open check and skip the rest.

    None fails if this machine does, for example its engine.
    """
    if obstacle:
        yield from skip_all(ids, obstacle)
        return
    judged = set()
    try:
        for verdict in session(subject):
            judged.add(verdict.check.id)
            yield verdict
    except (UserError, PlatformError, RequestError) as error:
        left = [identity for identity in ids if identity not in judged]
        reason = f"given up: {error}"
        if isinstance(error, PlatformError):
            reason = f"{obstacles.MACHINE_FAILED}{error}"
        elif left:
            yield judge(left.pop(0), False, str(error))
        yield from skip_all(left, reason)
