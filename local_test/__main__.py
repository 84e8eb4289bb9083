"""`python -m local_test COMMAND`: SageMaker on this machine, for any image or program."""

from __future__ import annotations

import signal
import sys

from container.interrupts import repeat_when_lost

repeat_when_lost(KeyboardInterrupt, signal.SIGINT)  # before the imports, which take the longest

from local_test.cli.app import main  # noqa: E402 - see above

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
