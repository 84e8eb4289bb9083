"""A Ctrl-C reaches the program, wherever it arrives.

Python prints and drops an exception that is raised inside a destructor or a weak reference's
callback, and an import runs many of these. A KeyboardInterrupt that is raised there would be lost.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs
    from types import FrameType

_PAUSE_S = 0.02  # long enough for the callback to return, too short to be noticed


def end_when_interrupted() -> None:
    """Let a Ctrl-C end the process at once: there is nothing to clean up yet."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def raise_when_interrupted() -> None:
    """Let a Ctrl-C raise KeyboardInterrupt from now on; none is lost."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    repeat_when_lost(KeyboardInterrupt, signal.SIGINT)


def _end(_number: int, _frame: FrameType | None) -> None:
    os._exit(130)  # as shells report it


def repeat_when_lost(exception: type[BaseException], number: signal.Signals) -> None:
    """Raise the signal again when Python drops the exception that its handler raised."""
    report = sys.unraisablehook

    def hook(unraisable: UnraisableHookArgs) -> None:
        if issubclass(unraisable.exc_type, exception):
            main = threading.main_thread().ident
            again = threading.Timer(_PAUSE_S, signal.pthread_kill, [main, number])
            again.daemon = True
            again.start()
        else:
            report(unraisable)

    sys.unraisablehook = hook
