"""Tests for `container.interrupts`."""

import signal
import subprocess
import sys

from tests.support import ROOT

PROGRAM = """
import signal, time
from container.interrupts import repeat_when_lost

class Deaf:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

repeat_when_lost(KeyboardInterrupt, signal.SIGINT)
signal.signal(signal.SIGINT, signal.default_int_handler)
for _ in range(3):
    try:
        Deaf()
        time.sleep(30)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
class Broken:
    def __del__(self):
        raise ValueError("still reported")
Broken()
"""


def test_an_interrupt_inside_a_destructor_is_not_lost() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.split() == ["interrupted"] * 3
    assert "still reported" in done.stderr
    assert "KeyboardInterrupt" not in done.stderr
    assert done.returncode == 0


def test_an_interrupt_while_the_harness_is_imported_ends_it() -> None:
    program = (
        "import os, runpy, signal, sys\n"
        "class Deaf:\n"
        "    def __del__(self): signal.raise_signal(signal.SIGINT)\n"
        "class Finder:\n"
        "    def find_spec(name, *_):\n"
        "        if name == 'local_test.cli.app': Deaf()\n"
        "sys.meta_path.insert(0, Finder)\n"
        "sys.argv = ['local_test', '--help']\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "runpy.run_module('local_test', run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def test_the_harness_repeats_lost_interrupts() -> None:
    program = (
        "import runpy, signal, sys, time\n"
        "class Deaf:\n"
        "    def __del__(self): signal.raise_signal(signal.SIGINT)\n"
        "sys.argv = ['local_test', '--help']\n"
        "runpy.run_module('local_test', run_name='checked')\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "Deaf(); time.sleep(30)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, timeout=60, check=False
    )
    assert done.returncode in {-signal.SIGINT, 130}
