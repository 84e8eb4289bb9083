"""Sums the ranks by MPI; `--fail-on RANK` raises on that one while the others wait."""

import argparse
import os
import signal
import sys
import time
from pathlib import Path

from mpi4py import MPI

parser = argparse.ArgumentParser()
parser.add_argument("--fail-on", type=int, default=-1)
parser.add_argument("--kill", type=int, default=-1, help="rank that is killed")
parser.add_argument("--wait-for-stop", type=int, default=0)
options = parser.parse_args()
world = MPI.COMM_WORLD
if world.Get_rank() == options.fail_on:
    message = f"the cause is on rank {world.Get_rank()}"
    raise ValueError(message)
if world.Get_rank() == options.kill:
    os.kill(os.getpid(), signal.SIGKILL)
total = world.allreduce(world.Get_rank() + 1)
host, nccl = os.environ["SM_CURRENT_HOST"], os.environ.get("NCCL_DEBUG")
# One write: `mpirun` puts a prefix before each.
sys.stdout.write(f"total={total}; host={host}; nccl={nccl};\n")
sys.stdout.flush()
stops: list[int] = []
signal.signal(signal.SIGTERM, lambda *_: stops.append(1))
while options.wait_for_stop and not world.allreduce(len(stops)):
    time.sleep(0.05)
if world.Get_rank() == 0:
    Path(os.environ["SM_MODEL_DIR"], "total").write_text(str(total))
