"""Runs a user's own training script under the conventions of `sagemaker-training`."""
