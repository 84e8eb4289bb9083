"""Handlers that are `async def`: they wait for each other's requests, or stream."""

import asyncio

ARRIVED = {}


async def model_fn(_model_dir):
    """Load as a coroutine."""
    await asyncio.sleep(0)
    return asyncio.get_running_loop()


async def transform_fn(model, data, _content_type, _accept):
    """Obey the body."""
    assert model is asyncio.get_running_loop()
    word, _, rest = data.decode().partition(" ")
    if word == "meet":  # as many requests as the number says, none of which ends before the last
        event = ARRIVED.setdefault(rest, asyncio.Event())
        event.count = getattr(event, "count", 0) + 1
        if event.count == int(rest):
            event.set()
        await event.wait()
    if word == "stream":
        return stream(rest.split()), "text/plain"
    return word, "text/plain"


async def stream(words):
    """Yield words; `!` fails."""
    for word in words:
        await asyncio.sleep(0)
        if word == "!":
            raise KeyError("a secret of the stream")
        yield word + "\n"
