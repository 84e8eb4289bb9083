"""Foreign images as folders, from the table `images.toml`."""

from __future__ import annotations

import shlex
import shutil
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from local_test.conformance import image_checks
from local_test.conformance import run as conformance
from local_test.conformance.catalog import Outcome
from local_test.conformance.sessions import protocol_checks, serving_mode_checks
from tests.support import PROGRAMS

HERE = Path(__file__).parent
NAMES: Final = ("train", "serve")
GROUPS: Final = {
    "training": conformance.TRAINING_IDS,
    "serving": conformance.SERVING_IDS,
    "requests": frozenset(protocol_checks.CONDITIONAL_IDS),
    "many_models": frozenset(serving_mode_checks.MULTI_MODEL_IDS),
}


@dataclass(frozen=True)
class ForeignImage:
    """An entry of the table; the table's head explains it."""

    name: str
    story: str
    part: str
    quick: bool = False
    violate: str = ""
    train: str = ""
    serve: str = ""
    style: str = ""
    environment: str = ""
    """Of `tests.environments`, whose Python it has."""
    missing: tuple[str, ...] = ()
    mode: int = 0o755
    many_models: bool = False
    has_workers: bool = False
    """Its server has other processes."""
    fails: dict[str, str] = field(default_factory=dict)
    passes: tuple[str, ...] = ()
    not_run: tuple[str, ...] = ()

    def build(self, directory: Path, python: str = sys.executable, program: str = "") -> Path:
        """Write its programs; return `directory`."""
        directory.mkdir()
        (directory / "python3").write_text(f'#!/bin/sh\nexec {python} "$@"\n')
        (directory / "python3").chmod(0o755)
        words = [python, program or str(PROGRAMS / "conformant.py")]
        if self.violate:
            words += ["--violate", self.violate]
        for name in set(NAMES) - set(self.missing):
            text = getattr(self, name) or f"#!/bin/sh\nexec $RUN {name}\n"
            path = directory / name
            path.write_bytes(text.replace("$RUN", shlex.join(words)).encode())
            path.chmod(self.mode)
        if self.style:
            for path in (HERE / self.style).iterdir():
                if path.is_file():
                    shutil.copy(path, directory)
        return directory

    def expect(self, identities: list[str]) -> dict[str, Outcome]:
        """Return the verdict of each check."""
        outcomes: dict[str, Outcome] = dict.fromkeys(identities, "pass")
        for name in self.not_run:
            outcomes |= dict.fromkeys(GROUPS.get(name, {name}), "not applicable")
        outcomes |= dict.fromkeys(self.passes, "pass")
        outcomes |= dict.fromkeys(self.fails, "fail")
        # A program has no image; its server cannot be isolated, and has its own port and no labels.
        never = {*image_checks.IDS, "SEC-1b", "IMG-12b", "IMG-12c"}
        if not self.many_models:
            never |= GROUPS["many_models"]
        if not self.has_workers:
            never.add("HO-12a")
        outcomes |= dict.fromkeys(never, "not applicable")
        return {identity: outcomes[identity] for identity in identities}


def read() -> list[ForeignImage]:
    """Read the table."""
    table: dict[str, Any] = tomllib.loads((HERE / "images.toml").read_text("utf-8"))
    return [ForeignImage(name, **entry) for name, entry in table.items()]
