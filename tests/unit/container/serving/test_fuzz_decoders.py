"""Damaged bodies of every decoder give images or a refusal, in bounded memory and time (SEC-6).

`FUZZ_BODIES=1000000` decodes a million; `fuzz_decoders.py` does so for hours.
"""

import itertools
import os

from tests.unit.container.serving.fuzz_decoders import find_faults

BODIES = int(os.environ.get("FUZZ_BODIES", "3000"))


def test_damaged_body_is_decoded_or_refused() -> None:
    tried = itertools.islice(find_faults(seed=20261128), BODIES)

    assert [(name, body, fault) for name, body, fault in tried if fault] == []
