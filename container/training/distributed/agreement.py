"""Whether the hosts of a job end with the same weights."""

import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from container.training.distributed.rendezvous import Hosts


def compare(
    hosts: Hosts, state: Mapping[str, npt.NDArray[Any]], steps: int, log: Callable[[str], None]
) -> None:
    """Log whether all hosts hold the same `state` after `steps`; all of them call it."""
    if hosts.count == 1:
        return
    checksum = 0
    for _, array in sorted(state.items()):
        checksum = zlib.crc32(np.ascontiguousarray(array).data, checksum)
    found = hosts.exchange(f"{checksum:08x}")
    if len(set(found)) == 1:
        log(
            f"all {hosts.count} hosts hold the same weights after {steps} steps "
            f"(checksum {found[0]})"
        )
        return
    pairs = zip(hosts.names, found, strict=True)
    listed = ", ".join(f"{name}: {text}" for name, text in pairs)
    log(
        f"warning: the weights of the hosts differ after {steps} steps ({listed}), as they may if "
        "processors round differently; the chief's are saved"
    )
