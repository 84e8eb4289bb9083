"""One local AWS: SageMaker's API on real jobs and endpoints of this machine, with moto's server around it."""
