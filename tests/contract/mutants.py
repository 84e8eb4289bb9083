"""Mutants of the conformance checks: copies of a module in which one verdict is always the same.

Each place where a verdict is given has up to three: it always passes, always fails, or never
applies.
"""

from __future__ import annotations

import ast
import types
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from local_test.conformance import run
from local_test.conformance.catalog import CHECKS

Change = Literal["passes", "fails", "is skipped"]


@dataclass(frozen=True)
class Mutant:
    """One changed verdict."""

    module: types.ModuleType
    line: int
    change: Change
    identities: tuple[str, ...]
    """Checks whose verdict may be given there."""

    def __str__(self) -> str:
        """Name it for a test report."""
        return f"{self.name}:{self.line} {'/'.join(self.identities[:2])} {self.change}"

    @property
    def name(self) -> str:
        """The module's name in `run.MODULES`."""
        return self.module.__name__.rpartition(".")[2]

    def build(self) -> types.ModuleType:
        """Return the changed module; the original stays unchanged."""
        tree = ast.parse(_read(self.module))
        [call] = [call for call in _find_verdicts(tree) if call.lineno == self.line]
        if self.change == "is skipped":
            call.func = ast.Name("_skip", ast.Load())
            call.args = [call.args[0], ast.Constant("mutant")]
            tree.body.append(
                ast.parse("from local_test.conformance.catalog import skip as _skip").body[0]
            )
        else:
            call.args[1] = ast.Constant(self.change == "passes")
        module = types.ModuleType(self.module.__name__)
        code = compile(ast.fix_missing_locations(tree), str(self.module.__file__), "exec")
        exec(code, module.__dict__)  # noqa: S102 - our own source
        return module


def find_mutants(*, without: Collection[str] = ()) -> Iterator[Mutant]:
    """Yield every mutant of every module, except those of some checks."""
    for module in (*run.MODULES.values(), run):
        tree = ast.parse(_read(module))
        for call in _find_verdicts(tree):
            identities = _name_checks(module, tree, call)
            given = call.args[1]
            for change in ("passes", "fails", "is skipped"):
                is_same = isinstance(given, ast.Constant) and given.value is (change == "passes")
                if not (change != "is skipped" and is_same) and not set(identities) <= set(without):
                    yield Mutant(module, call.lineno, change, identities)


def _read(module: types.ModuleType) -> str:
    return Path(str(module.__file__)).read_text(encoding="utf-8")


def _find_verdicts(tree: ast.Module) -> list[ast.Call]:
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "judge"]


def _name_checks(module: types.ModuleType, tree: ast.Module, call: ast.Call) -> tuple[str, ...]:
    named = call.args[0]
    if isinstance(named, ast.Constant):
        return (str(named.value),)
    around = [
        function.name
        for function in tree.body
        if isinstance(function, ast.FunctionDef)
        and function.lineno < call.lineno <= (function.end_lineno or 0)
    ]
    sessions = getattr(module, "SESSIONS", ())
    found = [
        identity for ids, session in sessions for identity in ids if [session.__name__] == around
    ]
    return tuple(found) or tuple(CHECKS)
