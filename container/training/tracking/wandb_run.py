"""A run in Weights & Biases, which reads its own variables, such as `WANDB_API_KEY`."""

import importlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from container import artifact, contract
from container.errors import UserError
from container.training.tracking import recorded_run
from container.training.tracking.metric_lines import Value

WANDB_SWITCH: Final = "BYO_WANDB"
_SETTINGS: Final = {
    "console": "off",
    "silent": True,
    "symlink": False,
    "init_timeout": 30.0,  # a job that waits costs money
    "finish_timeout": 300.0,
    "finish_timeout_raises": True,
}
_STEP: Final = "job_step"  # the horizontal axis of all metrics; W&B's own step only grows


class WandbRun(recorded_run.RecordedRun):
    """A run whose metrics, files and end W&B's own process sends."""

    server = "Weights & Biases"

    def __init__(self, layout: contract.Layout, environ: Mapping[str, str]) -> None:
        """Create the run.

        Offline its files lie in the output directory, from where `wandb sync` sends them later.

        Raises: UserError with what to install, or if the server cannot be reached, or refuses.
        """
        if environ.get("WANDB_MODE") == "offline":
            layout.output_data.mkdir(parents=True, exist_ok=True)
            os.environ.setdefault("WANDB_DIR", str(layout.output_data))
        os.environ.setdefault("WANDB_DIR", tempfile.gettempdir())
        try:
            self._wandb = importlib.import_module("wandb")
        except ModuleNotFoundError as error:
            raise UserError(
                f"{WANDB_SWITCH} is true, and the package wandb is not in this image; install "
                f"wandb in the image, or set {WANDB_SWITCH}=false to train without it"
            ) from error
        name = environ.get(contract.TRAINING_JOB_NAME_VARIABLE) or None
        try:
            settings = self._wandb.Settings(**_SETTINGS)
            self._run = self._wandb.init(name=name, settings=settings)
            self._run.define_metric("*", step_metric=_STEP)
        except Exception as error:
            raise UserError(
                f"no run can be created in Weights & Biases: {recorded_run.describe(error)}"
            ) from error
        place = self._run.dir if self._run.offline else self._run.url
        super().__init__(f"run {self._run.id} in {place}")

    def send_parameters(self, parameters: Mapping[str, str]) -> None:
        """Send parameters."""
        self._run.config.update(parameters)

    def upload(self, directory: Path, name: str, _manifest: artifact.Manifest | None) -> None:
        """Upload a directory as an artifact; an offline run has no copy of the job's own output."""
        if not self._run.offline:
            files = self._wandb.Artifact(f"{self._run.id}-{name}", type=name)
            files.add_dir(str(directory), policy="immutable")  # makes no copy
            self._run.log_artifact(files)

    def send(self, items: Sequence[tuple[Value, int]]) -> None:
        """Send values, those of one step together."""
        row: dict[str, Any] = {}
        for value, _ in items:
            if row and (row[_STEP] != value.step or value.name in row):
                self._run.log(row)
                row = {}
            row |= {_STEP: value.step, value.name: value.value}
        self._run.log(row)

    def close(self, status: str) -> None:
        """Close the run as FINISHED, FAILED or KILLED."""
        self._run.summary["status"] = status
        self._run.finish(exit_code=int(status != "FINISHED"))
        for path in Path(self._run.dir).parent.rglob("*"):
            if self._run.offline and path.is_symlink():  # nobody follows one out of the output
                path.unlink()
