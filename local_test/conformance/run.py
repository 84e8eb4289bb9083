"""Runs the sessions that the asked checks need, and gives the verdicts in the catalog's order."""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from typing import Final

from container.errors import PlatformError, RequestError, UserError
from local_test.conformance import image_checks, serving_checks, training_checks
from local_test.conformance.catalog import CHECKS, Verdict, judge, skip
from local_test.conformance.subject import Subject

Session = Callable[[Subject], Iterator[Verdict]]
TRAINING_IDS: Final = frozenset(identity for ids, _ in training_checks.SESSIONS for identity in ids)
SERVING_IDS: Final = frozenset(identity for ids, _ in serving_checks.SESSIONS for identity in ids)
IMAGE_IDS: Final = frozenset(image_checks.IDS)


def choose(
    *, train: bool, serve: bool, only: Collection[str], is_url: bool, has_model: bool = False
) -> list[str]:
    """Give the checks that the command's flags ask for.

    Raises: UserError for a check that does not exist, or that a URL cannot be asked.
    """
    possible = set(serving_checks.PROTOCOL_IDS) if is_url else set(CHECKS)
    unknown = [identity for identity in only if identity not in possible]
    if unknown:
        message = (
            f"no such check here: {', '.join(unknown)}; possible are {', '.join(sorted(possible))}"
        )
        raise UserError(message)
    if only:
        return [identity for identity in CHECKS if identity in only]
    groups = [
        group for group, is_asked in ((TRAINING_IDS, train), (SERVING_IDS, serve)) if is_asked
    ]
    asked = set().union(*groups, IMAGE_IDS) if groups else possible
    if serve and not train and not has_model:
        asked |= {"OUT-1a"}  # the job that makes the model
    return [identity for identity in CHECKS if identity in asked & possible]


def parse_url(url: str) -> tuple[str, int]:
    """Give host and port of `http://HOST:PORT`.

    Raises: UserError for anything else.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "http" or not parts.hostname or parts.path.strip("/"):
        message = f"{url!r}: http://HOST:PORT is expected"
        raise UserError(message)
    return parts.hostname, parts.port or 80


def run(
    subject: Subject,
    identities: Collection[str],
    on_verdict: Callable[[Verdict], None] = lambda _: None,
) -> list[Verdict]:
    """Judge a subject by some checks; the plain training job runs first, as serving needs its model."""
    verdicts: dict[str, Verdict] = {}
    sessions: list[tuple[tuple[str, ...], Session]] = [
        (image_checks.IDS, image_checks.check_image),
        *training_checks.SESSIONS,
    ]
    for ids, session in [*sessions, *serving_checks.SESSIONS]:
        wanted = set(ids) & set(identities)
        if not wanted:
            continue
        if set(ids) <= SERVING_IDS and subject.model is None:
            subject = replace(subject, model=training_checks.find_model(subject))
        for verdict in _run_session(subject, ids, session):
            if verdict.check.id in wanted:
                verdicts[verdict.check.id] = verdict
                on_verdict(verdict)
    return [verdicts[identity] for identity in CHECKS if identity in verdicts]


def _run_session(subject: Subject, ids: tuple[str, ...], session: Session) -> Iterator[Verdict]:
    """Give a session's verdicts; one that cannot go on fails its first open check and skips the rest."""
    judged = set()
    try:
        for verdict in session(subject):
            judged.add(verdict.check.id)
            yield verdict
    except (UserError, PlatformError, RequestError) as error:
        left = [identity for identity in ids if identity not in judged]
        for position, identity in enumerate(left):
            yield (
                judge(identity, False, str(error))
                if position == 0
                else skip(identity, f"given up: {error}")
            )
