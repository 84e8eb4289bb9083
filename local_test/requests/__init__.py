"""Requests in the shapes of SageMaker's API: built, validated, checked for what is emulated."""
