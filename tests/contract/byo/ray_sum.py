"""Runs tasks on every node of a Ray cluster; `--fail 1` raises in one of them."""

import argparse
import os
from pathlib import Path

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

parser = argparse.ArgumentParser()
parser.add_argument("--fail", type=int, default=0)
options = parser.parse_args()
ray.init()


@ray.remote
def name_host() -> str:
    if options.fail:
        message = "the cause is in a task"
        raise ValueError(message)
    return os.environ["SM_CURRENT_HOST"]


nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
strategies = [NodeAffinitySchedulingStrategy(node, soft=False) for node in nodes]
tasks = [name_host.options(scheduling_strategy=strategy).remote() for strategy in strategies]
print(f"nodes={sorted(ray.get(tasks))};", flush=True)
Path(os.environ["SM_MODEL_DIR"], "done").touch()
