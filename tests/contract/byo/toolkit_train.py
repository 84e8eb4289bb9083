"""Foreign peer: `sagemaker-training`'s own `train`; with an argument, as frameworks call it.

Those capture what the program says of its errors, which `train` by itself does not.
"""

import functools
import sys
import types

# TensorFlow would be imported only for the names of its errors, and paramiko only for MPI.
sys.modules["tensorflow"] = None  # type: ignore[assignment]
sys.modules["paramiko"] = types.ModuleType("paramiko")

from sagemaker_training import entry_point, trainer  # noqa: E402 - after the line above
from sagemaker_training.cli import train  # noqa: E402 - after the line above

if sys.argv[1:]:
    trainer.entry_point.run = functools.partial(entry_point.run, capture_error=True)
train.main()
