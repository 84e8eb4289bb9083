"""Trains on the CSV files in the channel `training`: the label, then the inputs, in each row.

It resumes from its last checkpoint, saves when it is stopped, and shares the rows between the ranks
that torchrun starts.
"""

import argparse
import os
import signal
from pathlib import Path

import numpy as np
import torch
from network import make_network
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

CHECKPOINT = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"), "checkpoints/checkpoint.pt")


def read_rows(channel):
    tables = [np.loadtxt(file, delimiter=",", ndmin=2) for file in sorted(channel.glob("*.csv"))]
    return torch.tensor(np.concatenate(tables), dtype=torch.float32)


def is_any_stopped(is_stopped, is_distributed, device):
    """Return whether any rank was asked to stop: all of them have to leave the loop together."""
    flag = torch.tensor(int(is_stopped), device=device)
    if is_distributed:
        distributed.all_reduce(flag)
    return bool(flag)


def save(content, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".new")
    torch.save(content, scratch)
    scratch.replace(path)  # a checkpoint is complete, or it is the one before


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--learning-rate", type=float, default=0.01)
    options, others = parser.parse_known_args()
    if others:  # the SDKs may add --model_dir
        print("ignored:", *others, flush=True)

    stops = []
    signal.signal(signal.SIGTERM, lambda *_: stops.append(1))
    is_distributed = int(os.environ.get("WORLD_SIZE", "1")) > 1
    rank, world = 0, 1
    if is_distributed:
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        rank, world = distributed.get_rank(), distributed.get_world_size()
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))

    torch.manual_seed(0)
    rows = read_rows(Path(os.environ["SM_CHANNEL_TRAINING"]))
    network = make_network(rows.shape[1] - 1).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=options.learning_rate)
    first_epoch = 0
    if CHECKPOINT.exists():
        state = torch.load(CHECKPOINT, map_location=device, weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        first_epoch = state["epoch"]
        print(f"resuming after epoch {first_epoch}", flush=True)
    model = DistributedDataParallel(network) if is_distributed else network

    # Every rank takes as many rows, so that no rank waits for another one's gradients.
    mine = rows[torch.arange(rank, max(world, len(rows) // world * world), world) % len(rows)]
    mine = mine.to(device)
    for epoch in range(first_epoch, options.epochs):
        loss = nn.functional.mse_loss(model(mine[:, 1:]), mine[:, :1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if rank == 0:
            print(f"epoch={epoch + 1}; train_loss={loss.item():.6f};", flush=True)
            state = {"network": network.state_dict(), "optimizer": optimizer.state_dict()}
            save(state | {"epoch": epoch + 1}, CHECKPOINT)
        if is_any_stopped(bool(stops), is_distributed, device):
            break

    if rank == 0:
        weights = {"inputs": rows.shape[1] - 1, "network": network.cpu().state_dict()}
        torch.save(weights, Path(os.environ["SM_MODEL_DIR"], "model.pt"))
    if is_distributed:
        distributed.destroy_process_group()


if __name__ == "__main__":
    main()
