"""How one local AWS runs."""

from dataclasses import dataclass
from typing import Final

ROLE: Final = "sagemaker"
"""The role that exists from the start; SDK v3 reads it first."""


@dataclass(frozen=True)
class Settings:
    """What `up` was asked for; kept in the directory, so that the next start needs no flags."""

    program: str = "python -m container"
    """Command line that runs for every image; empty to run images in the Docker engine."""
    working_directory: str = ""
    """Where the program starts."""
    port: int = 0
    """0 takes the last port, or a free one."""
    region: str = "us-east-1"
    account: str = "000000000000"
    max_instances: int = 20
    """Quota of instances for jobs, and of instances for endpoints."""
    jobs_directory: str = ""
    """Where the commands keep their jobs, which the console shows."""
    command: str = "byo"
    """How this tool is called, for the advice of the console."""
    run_functions: bool = False
    """Whether the Lambda functions of pipelines run as programs of this machine."""

    @property
    def default_bucket(self) -> str:
        """The bucket that the SageMaker SDKs use when a program names none."""
        return f"sagemaker-{self.region}-{self.account}"
