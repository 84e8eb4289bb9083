"""A bidirectional stream that obeys its parts, and says what has become of the others."""

import asyncio
import time

from container.errors import RequestError

ENDED = []
MADE = [0]


def model_fn(_model_dir):
    """Need no model."""
    return "model"


def transform_fn(_model, data, _content_type, _accept):
    """Say how many streams have ended, and how many replies `flood` has made."""
    return f"{len(ENDED)} {MADE[0]}", "text/plain"


async def stream_fn(parts, model, context):
    """Obey."""
    try:
        async for part in parts:
            word, _, rest = part.partition(" ") if isinstance(part, str) else ("", "", "")
            fail(word)
            if word == "end":
                return
            if word == "sleep":
                await asyncio.sleep(60)
            if word == "header":
                yield f"{model} {context.get_request_header(0, rest)}"
            async for reply in REPLIES.get(word, echo)(rest, part):
                yield reply
        yield "last words"
    finally:
        ENDED.append(1)


def fail(word):
    """Fail as it is asked for."""
    if word == "fail":
        raise KeyError("a secret of the stream")
    if word == "refuse":
        raise RequestError(400, "send something else")
    if word == "block":
        time.sleep(60)
    if word == "cancel":
        raise asyncio.CancelledError


async def echo(_, part):
    """Return the part."""
    yield part


async def count(rest, _):
    """Return numbers as text."""
    for number in range(int(rest)):
        yield str(number)
        await asyncio.sleep(0)


async def flood(rest, _):
    """Return numbers as many bytes."""
    for number in range(int(rest)):
        MADE[0] = number + 1
        yield number.to_bytes(4, "big") * 16384


async def wrong(_, __):
    """Return what is neither text nor bytes."""
    yield 7


REPLIES = {"count": count, "flood": flood, "wrong": wrong}
