"""`python -m local_test COMMAND`: SageMaker on this machine, for any image or program."""

from __future__ import annotations

import sys

from local_test.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
