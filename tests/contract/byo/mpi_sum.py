"""Sums the ranks by MPI; `--fail-on RANK` raises on that one while the others wait."""

import argparse
import os
from pathlib import Path

from mpi4py import MPI

parser = argparse.ArgumentParser()
parser.add_argument("--fail-on", type=int, default=-1)
options = parser.parse_args()
world = MPI.COMM_WORLD
if world.Get_rank() == options.fail_on:
    message = f"the cause is on rank {world.Get_rank()}"
    raise ValueError(message)
total = world.allreduce(world.Get_rank() + 1)
print(f"total={total};", flush=True)
if world.Get_rank() == 0:
    Path(os.environ["SM_MODEL_DIR"], "total").write_text(str(total))
