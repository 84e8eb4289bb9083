"""The services around SageMaker, played by moto."""
