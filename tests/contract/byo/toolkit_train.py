"""Foreign peer: `sagemaker-training`'s own `train`; with an argument, as frameworks call it.

Those capture what the program says of its errors, which `train` by itself does not.
"""

import functools
import sys

sys.modules["tensorflow"] = None  # type: ignore[assignment] # it would be imported for the names of its errors only

from sagemaker_training import entry_point, trainer  # noqa: E402
from sagemaker_training.cli import train  # noqa: E402

if sys.argv[1:]:
    trainer.entry_point.run = functools.partial(entry_point.run, capture_error=True)
train.main()
