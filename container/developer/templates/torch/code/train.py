"""Trains on the channel `training`: CSV files, or a folder of pictures for each class.

In each row of a CSV file the label comes first, then the inputs.
It resumes from its last checkpoint, saves when it is stopped, and shares the rows between the ranks
that torchrun starts.
"""

import argparse
import os
import signal
import time
from pathlib import Path

import torch
from data import read
from network import make_network
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

CHECKPOINT = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"), "checkpoints/checkpoint.pt")


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


def join_ranks():
    """Meet the other ranks, if torchrun started some; return rank, number of ranks, device."""
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1:
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    if torch.cuda.is_available():
        return rank, world, torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return rank, world, torch.device("cpu")


def run_epoch(model, optimizer, measure, batches):
    """Take a step for each batch; return the mean loss of a record."""
    total, count = 0.0, 0
    for inputs, targets in batches:
        loss = measure(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(inputs)
        count += len(inputs)
    return total / count


def parse_arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--learning-rate", type=float, default=0.01)
    parser.add_argument("--batch-size", type=int, default=64, help="on each rank")
    options, others = parser.parse_known_args()
    if others:  # the SDKs may add --model_dir
        print("ignored:", *others, flush=True)
    return options


def main():
    options = parse_arguments()
    stops = []
    signal.signal(signal.SIGTERM, lambda *_: stops.append(1))
    rank, world, device = join_ranks()

    torch.manual_seed(0)
    inputs, targets, classes = read(Path(os.environ["SM_CHANNEL_TRAINING"]))
    measure = nn.functional.cross_entropy if classes else nn.functional.mse_loss
    network = make_network(inputs.shape[1], classes).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=options.learning_rate)
    first_epoch = 0
    if CHECKPOINT.exists():
        state = torch.load(CHECKPOINT, map_location=device, weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        first_epoch = state["epoch"]
        print(f"resuming after epoch {first_epoch}", flush=True)
    model = DistributedDataParallel(network) if world > 1 else network

    # Every rank takes as many records, so that no rank waits for another one's gradients.
    mine = torch.arange(rank, max(world, len(inputs) // world * world), world) % len(inputs)
    for epoch in range(first_epoch, options.epochs):
        parts = mine[torch.randperm(len(mine))].split(options.batch_size)
        batches = ((inputs[part].to(device), targets[part].to(device)) for part in parts)
        loss = run_epoch(model, optimizer, measure, batches)
        if rank == 0:
            print(f"epoch={epoch + 1}; train_loss={loss:.6f};", flush=True)
            state = {"network": network.state_dict(), "optimizer": optimizer.state_dict()}
            save(state | {"epoch": epoch + 1}, CHECKPOINT)
        if is_any_stopped(bool(stops), world > 1, device):
            break

    if rank == 0:
        saved = {"inputs": inputs.shape[1], "classes": classes}
        saved["network"] = network.cpu().state_dict()
        torch.save(saved, Path(os.environ["SM_MODEL_DIR"], "model.pt"))
    if world > 1:
        distributed.destroy_process_group()
        time.sleep(0.2)  # gloo's threads abort a process that ends while they release a tensor


if __name__ == "__main__":
    main()
