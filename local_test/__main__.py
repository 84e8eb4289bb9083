"""`python -m local_test COMMAND`: SageMaker on this machine, for any image or program."""

import sys

from container import interrupts

interrupts.end_when_interrupted()  # before the imports, which take the longest

from local_test.cli.app import main  # noqa: E402 - see above

interrupts.raise_when_interrupted()

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
