"""The program inside the image: trains, evaluates and serves under SageMaker's `/opt/ml` contract."""

__version__ = "0.1.0"
