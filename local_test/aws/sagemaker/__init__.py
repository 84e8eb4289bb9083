"""SageMaker's operations, by resource."""
