"""The examples of handlers in docs/bring-your-own.md are complete: each one answers."""

from __future__ import annotations

import asyncio
import importlib.util
import re
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import joblib
import pytest
from sklearn.tree import DecisionTreeClassifier

from container.serving.exchange import Request, Response
from container.serving.user_code import handler_rules
from container.serving.user_code.application import Application
from tests.support import ROOT

PAGE = (ROOT / "docs/bring-your-own.md").read_text(encoding="utf-8")
FOUND = re.findall(
    r"### ([^\n]+)\n(?:(?!\n### ).)*?```python\n(# code/inference.py\n.*?)```", PAGE, re.DOTALL
)
EXAMPLES = [(title, text) for title, text in FOUND if title != "Tables"]
"""Without that of `tests/contract/byo/ask_frames.py`, which needs pandas."""
CSV = {"content-type": "text/csv"}
JSON = {"content-type": "application/json"}
CASES = {
    "A model and its prediction": (b"1,2", CSV, b"[[0.0, 1.0]]"),
    "A handler that waits": (b'["b", "x"]', JSON, b"[2, null]"),
    "Batches": (b"1,2,3", CSV, b"[1.0, 2.0, 3.0]"),
    "Streams": (b"", JSON, b"data: the\n\ndata: quick\n\ndata: brown\n\ndata: fox\n\n"),
    "Bidirectional streams": (b'["world", "x"]', JSON, b'["monde", null]'),
    "Metrics": (b"1,2", CSV, b"[1, 2]"),
}


def load(text: str, directory: Path) -> Application:
    tree = DecisionTreeClassifier(random_state=0).fit([[0, 0], [1, 2]], [0, 1])
    joblib.dump(tree, directory / "model.joblib")
    path = directory / "inference.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location("example", path)
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    functions = {
        name: vars(module)[name] for name in handler_rules.FUNCTIONS if name in vars(module)
    }
    return Application(functions, directory)


def test_every_example_is_run() -> None:
    assert [title for title, _ in EXAMPLES] == list(CASES)


def test_example_of_a_stream_converses(tmp_path: Path) -> None:
    application = load(dict(EXAMPLES)["Bidirectional streams"], tmp_path)

    async def say() -> AsyncIterator[str]:
        yield "hello"
        yield "friend"

    async def converse() -> list[str]:
        return [reply async for reply in application.open_stream({}, say())]

    assert asyncio.run(converse()) == ["bonjour", "?", "au revoir"]


@pytest.mark.parametrize(("title", "text"), EXAMPLES, ids=[title for title, _ in EXAMPLES])
def test_example_answers(title: str, text: str, tmp_path: Path) -> None:
    body, headers, expected = CASES[title]
    application = load(text, tmp_path)
    response: Response = application.invoke(Request(body, headers))
    assert (response.status, response.body) == (200, expected)
    if application.coroutines is not None:
        loop: Any = application.coroutines.loop
        loop.call_soon_threadsafe(loop.stop)
