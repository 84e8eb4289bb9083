"""What the import of TensorFlow brings."""

from __future__ import annotations

import subprocess
import sys

from tests.support import ROOT


def test_keras_does_not_bring_scikit_learn_which_can_be_imported_later() -> None:
    program = (
        "import sys\n"
        "from container.training.step import device\n"
        "device.import_tensorflow()\n"
        "assert 'keras' in sys.modules\n"
        "assert not {'sklearn', 'scipy'} & set(sys.modules)\n"
        "import sklearn.linear_model\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
