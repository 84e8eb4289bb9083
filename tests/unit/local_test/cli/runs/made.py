"""Directories of jobs as the harness leaves them, for the tests of this folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

DEFINITIONS = [
    {"Name": "epoch", "Regex": r"epoch=(\d+);"},
    {"Name": "loss", "Regex": r"\bloss=(\S+);"},
]


def make_job(  # noqa: PLR0913 - a job's parts
    jobs: Path,
    name: str,
    *,
    parameters: Mapping[str, str] | None = None,
    metrics: Mapping[str, float] | None = None,
    definitions: Sequence[Mapping[str, str]] = tuple(DEFINITIONS),
    log: str = "",
    measured: Mapping[str, Any] | None = None,
    status: str = "Completed",
    is_done: bool = True,
) -> Path:
    """Write the directory of a training job of 90.5 seconds."""
    directory = jobs / "training" / name
    (directory / "logs").mkdir(parents=True)
    (directory / "logs/algo-1.log").write_text(log)
    request: dict[str, Any] = {
        "TrainingJobName": name,
        "AlgorithmSpecification": {"MetricDefinitions": list(definitions)},
        "HyperParameters": dict(parameters or {}),
    }
    (directory / "request.json").write_text(json.dumps(request))
    if measured is not None:
        place = directory / "hosts/algo-1/output/evaluation"
        place.mkdir(parents=True)
        (place / "metrics.json").write_text(json.dumps(measured))
        (place / "report.html").write_text("<p>report")
    if is_done:
        description = {
            **request,
            "TrainingJobStatus": status,
            "CreationTime": "2026-01-02T03:04:05.000+00:00",
            "TrainingEndTime": "2026-01-02T03:05:35.500+00:00",
            "ModelArtifacts": {"S3ModelArtifacts": f"file:///out/{name}/output/model.tar.gz"},
            "FinalMetricDataList": [
                {"MetricName": key, "Value": value} for key, value in (metrics or {}).items()
            ],
        }
        (directory / "description.json").write_text(json.dumps(description))
    return directory
