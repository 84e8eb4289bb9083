"""Trains a linear model by torch's DistributedDataParallel; every host saves the weights."""

import argparse
import hashlib
import os
import signal
from pathlib import Path

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=5)
parser.add_argument("--raise-on", type=int, default=-1, help="rank that fails")
parser.add_argument("--kill", type=int, default=-1, help="rank that is killed")
parser.add_argument("--wait-for-stop", type=int, default=0)
options = parser.parse_args()

stops = []
signal.signal(signal.SIGTERM, lambda *_: stops.append(1))
distributed.init_process_group("gloo")
rank = distributed.get_rank()
torch.manual_seed(rank)  # DDP sends the first rank's weights to all
model = DistributedDataParallel(torch.nn.Linear(4, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(options.steps):
    data = torch.randn(8, 4)
    loss = ((model(data) - data.sum(dim=1, keepdim=True)) ** 2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(f"rank={rank}; world={distributed.get_world_size()}; loss={loss.item():.4f};", flush=True)
    if rank == options.raise_on:
        raise ValueError("the cause is on rank", rank)
    if rank == options.kill:
        os.kill(os.getpid(), signal.SIGKILL)
while options.wait_for_stop:
    stop = torch.tensor(len(stops))
    distributed.all_reduce(stop)
    if stop:
        print("saved before the end", flush=True)
        break
weights = repr([p.tolist() for p in model.parameters()])  # torch's own image may lack numpy
print(f"weights={hashlib.sha256(weights.encode()).hexdigest()};", flush=True)
if rank == 0:
    torch.save(model.module.state_dict(), Path(os.environ["SM_MODEL_DIR"], "model.pt"))
distributed.destroy_process_group()
os._exit(0)  # PyTorch 2.13 with gloo aborts now and then while it unloads
