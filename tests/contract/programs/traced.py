"""Runs a module and writes a line for each call of a function of ours.

usage: python traced.py OUT MODULE ARGUMENT ...

A line is `PROCESS THREAD PATH FUNCTION`, in the order of the calls; forked processes write too.
"""

from __future__ import annotations

import os
import runpy
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = str(Path(__file__).resolve().parents[3]) + "/"
PACKAGES = (ROOT + "container/", ROOT + "local_test/")
SKIPPED = ("<module>", "<genexpr>", "<listcomp>", "<dictcomp>", "<setcomp>", "<lambda>")

out = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def write(frame: FrameType, event: str, _: Any) -> None:
    """Write the call of a function, but not of a module's or class's body."""
    code = frame.f_code
    if event != "call" or not code.co_filename.startswith(PACKAGES):
        return
    if code.co_name in SKIPPED or not code.co_flags & 2:  # 2: has local variables of its own
        return
    path = code.co_filename.removeprefix(ROOT)
    os.write(out, f"{os.getpid()} {threading.get_ident()} {path} {code.co_qualname}\n".encode())


threading.setprofile(write)
sys.argv = sys.argv[2:]
sys.path.insert(0, ROOT)
sys.setprofile(write)
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
