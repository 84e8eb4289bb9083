"""What several of these tests make: requests, and deep trees."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from local_test.requests import shorthand


def make_training_request(**changes: Any) -> dict[str, Any]:
    """Make a CreateTrainingJob request, with some fields changed or added."""
    request = shorthand.training_request(
        name="job",
        image="any",
        channels={"training": "s3://bucket/data/"},
        output="s3://bucket/out",
    )
    return {**request, **changes}


def nest(base: Path, name: str, depth: int) -> None:
    """Make directories in one another, each of which is called `name`, and a file at the end."""
    directory = os.open(base, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=directory)
        inner = os.open(name, os.O_RDONLY, dir_fd=directory)
        os.close(directory)
        directory = inner
    os.close(os.open("end", os.O_CREAT | os.O_WRONLY, dir_fd=directory))
    os.close(directory)
