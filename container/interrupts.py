"""Exceptions raised by signal handlers reach the program, wherever the signal arrives.

Python prints and drops an exception that is raised inside a destructor or a weak reference's
callback, and an import runs many of these. A Ctrl-C that arrives there would be lost.
"""

from __future__ import annotations

import signal
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_PAUSE_S = 0.02
"""Long enough for the callback to return, too short to be noticed."""


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
