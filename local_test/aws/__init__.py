"""One local AWS: SageMaker's API on real jobs and endpoints, with moto's services around it."""
