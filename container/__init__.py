"""The program inside the image: trains, evaluates and serves under SageMaker's contract."""

__version__ = "0.1.0"
