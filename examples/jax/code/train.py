"""Trains a network on the CSV files of the channel `training`: a class, then its features.

The entire epoch is one compiled loop over batches.
"""

import argparse
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from network import apply, initialize

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=30)
parser.add_argument("--batch-size", type=int, default=64)
parser.add_argument("--learning-rate", type=float, default=0.2)
arguments, others = parser.parse_known_args()
if others:  # the SDKs may add --model_dir
    print("ignored:", *others, flush=True)

files = sorted(Path(os.environ["SM_CHANNEL_TRAINING"]).glob("*.csv"))
table = np.concatenate([np.loadtxt(file, delimiter=",", ndmin=2) for file in files])
random = np.random.default_rng(0)
table = random.permutation(table)
held_out = len(table) // 5
features, classes = jnp.asarray(table[:, 1:], jnp.float32), jnp.asarray(table[:, 0], jnp.int32)


def find_loss(parameters, rows, labels):
    scores = jax.nn.log_softmax(apply(parameters, rows))
    return -jnp.take_along_axis(scores, labels[:, None], axis=1).mean()


@jax.jit
def run_epoch(parameters, batches):
    def step(current, batch):
        loss, slopes = jax.value_and_grad(find_loss)(current, *batch)
        moved = jax.tree.map(lambda p, g: p - arguments.learning_rate * g, current, slopes)
        return moved, loss

    return jax.lax.scan(step, parameters, batches)


parameters = initialize(jax.random.key(0), features.shape[1], 64, int(classes.max()) + 1)
for epoch in range(1, arguments.epochs + 1):
    order = held_out + random.permutation(len(table) - held_out)
    order = order[: len(order) // arguments.batch_size * arguments.batch_size]
    batches = order.reshape(-1, arguments.batch_size)
    parameters, losses = run_epoch(parameters, (features[batches], classes[batches]))
    guesses = apply(parameters, features[:held_out]).argmax(axis=1)
    accuracy = (guesses == classes[:held_out]).mean()
    print(f"epoch={epoch}; train_loss={losses.mean():.4f}; validation_accuracy={accuracy:.4f};")
np.savez(Path(os.environ["SM_MODEL_DIR"], "parameters.npz"), **parameters)
