"""Stop requests, in processes of their own: they own the signals, and end the process."""

from __future__ import annotations

import subprocess
import sys

import pytest

# A mutex that is taken twice: a call that holds the main thread for ever, and that no signal
# interrupts.
PROGRAM = """
import ctypes, sys
from container.training.termination import StopRequest
stop = StopRequest(longest_s=0.2)
stop.worth_saving, stop.saved = sys.argv[1] == "worth saving", sys.argv[2]
print("ready", flush=True)
mutex = ctypes.create_string_buffer(64)
ctypes.CDLL(None).pthread_mutex_lock(mutex)
ctypes.CDLL(None).pthread_mutex_lock(mutex)
"""


@pytest.mark.parametrize("signal_name", ["SIGTERM", "SIGINT"])
@pytest.mark.parametrize(
    ("worth_saving", "saved", "code", "told"),
    [
        ("nothing", "", 0, "before the first step: there is no model to save"),
        ("worth saving", "the checkpoint after 7 steps", 0, "saved: the checkpoint after 7 steps"),
        ("worth saving", "", 1, "nothing was saved"),
    ],
)
def test_a_stop_ends_a_process_whose_main_thread_is_inside_a_call_for_ever(
    signal_name: str, worth_saving: str, saved: str, code: int, told: str
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, worth_saving, saved],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    subprocess.run(["kill", "-s", signal_name.removeprefix("SIG"), str(process.pid)], check=True)
    output, _ = process.communicate(timeout=60)
    assert (process.returncode, signal_name in output.decode()) == (code, True)
    assert told in output.decode()


def test_a_stop_leaves_the_process_alone_until_its_time_is_over() -> None:
    program = (
        "import time\nfrom container.training.termination import StopRequest\n"
        "stop = StopRequest()\nstop.worth_saving = True\nprint('ready', flush=True)\n"
        "while not stop.requested: time.sleep(0.001)\n"
        "print('saved', flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    output, _ = process.communicate(timeout=90)  # below the 100 s
    assert process.returncode == 0
    assert output == "SIGTERM: finishing the current steps, then saving the model\nsaved\n"


def test_a_stop_does_not_change_the_outcome_of_a_job_that_has_one() -> None:
    program = (
        "import os, signal, sys, threading\n"
        "from container.training.termination import StopRequest\n"
        "stop = StopRequest()\nstop.disregard()\nos.kill(os.getpid(), signal.SIGTERM)\n"
        "for thread in threading.enumerate():\n"
        "    if thread.name == 'stop':\n"
        "        thread.join(30)\n"  # it has dealt with the signal
        "sys.exit(7)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (7, b"")
