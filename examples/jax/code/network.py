"""A network of two layers, which training and serving share."""

import jax
import jax.numpy as jnp

SCALE = 16.0  # the largest pixel


def initialize(key, inputs, hidden, classes):
    first, second = jax.random.split(key)
    return {
        "w1": jax.random.normal(first, (inputs, hidden)) / jnp.sqrt(inputs),
        "b1": jnp.zeros(hidden),
        "w2": jax.random.normal(second, (hidden, classes)) / jnp.sqrt(hidden),
        "b2": jnp.zeros(classes),
    }


@jax.jit
def apply(parameters, rows):
    hidden = jax.nn.relu(rows / SCALE @ parameters["w1"] + parameters["b1"])
    return hidden @ parameters["w2"] + parameters["b2"]
