"""What the import of TensorFlow brings."""

from __future__ import annotations

import subprocess
import sys

from tests.support import ROOT


def test_keras_brings_no_scikit_learn_which_can_be_imported_later_and_onednn_computes() -> None:
    program = (
        "import os, sys\n"
        "os.environ.pop('TF_ENABLE_ONEDNN_OPTS', None)\n"
        "from container.training.step import device\n"
        "device.import_tensorflow()\n"
        "assert 'keras' in sys.modules\n"
        "assert not {'sklearn', 'scipy'} & set(sys.modules)\n"
        "import sklearn.linear_model\n"
        "from tensorflow.python.framework import test_util\n"
        "assert test_util.IsMklEnabled(), 'also on CPUs without VNNI and bfloat16'\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
