"""The input of the training step, on tf.data."""
