"""Regular expressions that see a client's input take time in proportion to it (SEC-6).

A pattern that backtracks holds the event loop, and `/ping` with it, for the square of a body's
length. Each is run on texts that repeat what could make it backtrack.
"""

import ast
import importlib
import itertools
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import pytest

from container.errors import RequestError
from container.serving.bodies import text, unusual_text
from tests.support import ROOT

FOLDERS = ("container/serving", "container/data")
HEADS = ("", "'", '"', "1", "{", "[", "content-type:", "GET / HTTP/1.1\r\n", '{"features"')
PUMPS = (
    *("1", "a", "0,", " ", "\t", "\n", "\r\n", "'", '"', "\\", "\\'", '\\"', "'\\", '"\\', "'\""),
    *("[", "[ ", "{", ";", ",", ".", "-", "e", "1e", "1.", "=", "://", "http", "http://", "a:\r\n"),
    *("content-type:", "\ncontent-type: ", "GET ", '{"instances":', '{"features"', "/", "@"),
)
TAILS = ("", "x", "!", "\\", "\n", "\0")
LENGTH = 1000
METHODS = {"match", "fullmatch", "search", "split", "finditer", "findall", "sub"}


def find_uses() -> Iterator[tuple[str, str, str]]:
    """Yield module, name and method of each use of a compiled pattern."""
    for path in sorted(itertools.chain(*((ROOT / folder).rglob("*.py") for folder in FOLDERS))):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_bytes())):
            if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
                continue
            name = node.value.id
            assert name != "re" or node.attr not in METHODS, f"{path}: compile the pattern"
            if node.attr in METHODS and name.isupper():
                yield module, name, node.attr
            elif node.attr in METHODS and name == "separator":
                yield from ((module, name, node.attr) for name in ("_COMMA", "_SEMICOLON"))


def find_patterns() -> dict[tuple[str, str], re.Pattern[Any]]:
    """Return every pattern that a module of the folders has made."""
    found = {}
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            if "re.compile" in path.read_text(encoding="utf-8"):
                module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                for name, value in vars(importlib.import_module(module)).items():
                    if isinstance(value, re.Pattern):
                        found[module, name] = value
    return found


@pytest.fixture(scope="module")
def patterns() -> dict[tuple[str, str], re.Pattern[Any]]:
    return find_patterns()


@pytest.fixture(scope="module")
def uses(patterns: Mapping[tuple[str, str], object]) -> set[tuple[str, str, str]]:
    return {
        (module, name, method) for module, name, method in find_uses() if (module, name) in patterns
    }


def measure(run: Callable[[], object]) -> float:
    times = []
    for _ in range(3):
        started = time.thread_time()
        run()
        times.append(time.thread_time() - started)
    return min(times)


def find_slow(pattern: re.Pattern[Any], method: str) -> str:
    """Return a text whose time grows faster than its length: fourfold text, eightfold time."""
    for head, pump, tail in itertools.product(HEADS, PUMPS, TAILS):
        runs = []
        for length in (LENGTH, 4 * LENGTH):
            written: Any = head + pump * (length // len(pump)) + tail
            if isinstance(pattern.pattern, bytes):
                written = written.encode()
            function = getattr(pattern, method)
            arguments = (written[:0], written) if method == "sub" else (written,)
            runs.append(
                lambda function=function, arguments=arguments: list_all(function(*arguments))
            )
        started = time.thread_time()
        runs[1]()
        if time.thread_time() - started < 0.01:  # linear patterns take a tenth of a millisecond
            continue
        if measure(runs[1]) > 8 * measure(runs[0]):
            return f"{head!r} + n * {pump!r} + {tail!r}"
    return ""


def list_all(found: Any) -> Any:
    return list(found) if isinstance(found, Iterator) else found


def test_every_pattern_is_used_where_this_test_sees_it(
    patterns: Mapping[tuple[str, str], object], uses: Collection[tuple[str, str, str]]
) -> None:
    used = {(module, name) for module, name, _ in uses}
    elsewhere = {
        ("container.serving.server_settings", "_NAMESPACE"),
        ("container.serving.server_settings", "_PAIR"),
    }
    assert patterns.keys() - used - elsewhere == set()


def test_pattern_takes_time_in_proportion_to_its_input(
    patterns: Mapping[tuple[str, str], re.Pattern[Any]], uses: Collection[tuple[str, str, str]]
) -> None:
    """SEC-6."""
    found = {
        (module, name, method): find_slow(patterns[module, name], method)
        for module, name, method in uses
    }
    assert {use: text for use, text in found.items() if text} == {}


@pytest.mark.parametrize(
    ("pattern", "method"),
    [
        (r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", "fullmatch"),
        (r"'(?:[^'\\]|\\.)*(?:'|$)", "search"),
        (r"\s+$", "search"),
    ],
)
def test_pattern_that_backtracks_is_found(pattern: str, method: str) -> None:
    """SEC-6: two of these were the server's own."""
    assert find_slow(re.compile(pattern, re.DOTALL), method)


def test_long_cell_of_csv_is_refused_and_not_parsed() -> None:
    """SEC-6, RQ-8."""
    for cell in (b"1" * 100_000 + b"x", b"." + b"0" * 100_000, b"0" * 1025):
        with pytest.raises(RequestError, match="row 1, column 1") as caught:
            text.decode_csv(cell, (1, 1, 1), {})
        assert caught.value.status == 400
    assert text.decode_csv(b"0." + b"0" * 1000, (1, 1, 1), {}).tolist() == [[[[0]]]]
    assert text.decode_csv(b"0" * 1023 + b"7", (1, 1, 1), {}).tolist() == [[[[7]]]]


@pytest.mark.parametrize("written", ["1", "1.", "1.5", ".5", "+.5", "-1e3", "1.e-3", "007"])
def test_number_of_csv_is_pythons(written: str) -> None:
    assert unusual_text._NUMBER.fullmatch(written)  # noqa: SLF001 - the pattern is what is tested
    float(written)


@pytest.mark.parametrize(
    "written", ["", ".", "e5", "1e", "1e+", "1.5.5", "inf", "nan", "1_0", "\u0661"]
)
def test_other_text_of_csv_is_no_number(written: str) -> None:
    assert not unusual_text._NUMBER.fullmatch(written)  # noqa: SLF001 - as tested
