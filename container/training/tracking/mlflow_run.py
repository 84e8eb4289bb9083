"""A run in MLflow, whose server `MLFLOW_TRACKING_URI` names."""

import datetime as dt
import importlib
import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from container import artifact, contract
from container.errors import UserError
from container.training.tracking import recorded_run
from container.training.tracking.metric_lines import Value

URI_VARIABLE: Final = "MLFLOW_TRACKING_URI"
MLFLOW_SWITCH: Final = "BYO_MLFLOW"
_EXPERIMENT_VARIABLE: Final = "MLFLOW_EXPERIMENT_NAME"
_DEFAULT_EXPERIMENT: Final = "Default"
_EXPERIMENT_TAGS: Final = {"mlflow.experimentKind": "custom_model_development"}
"""Makes MLflow's pages show trainings; otherwise they are those of language models."""
_MODELS_TAG: Final = "mlflow.log-model.history"
"""Lists a run's models; MLflow's pages show the signature only of a directory that it names."""
_LOADER: Final = "container.batch.local_model"

_SETTINGS: Final = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # its own 7 take minutes, in which a job costs money
    "MLFLOW_DISABLE_TELEMETRY": "true",  # which holds up a job that has no way to the internet
}
"""Variables of MLflow's own that are set unless the job sets them."""

# Limits of MLflow's servers.
_BATCH_PARAMETERS: Final = 100
_NAME_CHARACTERS: Final = 250
_FOREIGN: Final = re.compile(r"[^\w.\-/ ]")


class MlflowRun(recorded_run.RecordedRun):
    """A run, in the experiment that the job names, or in `Default`."""

    server = "MLflow"

    def __init__(self, _layout: contract.Layout, environ: Mapping[str, str]) -> None:
        """Create the run, and the experiment if there is none of its name.

        Raises: UserError with what to install, or if the server cannot be reached, or refuses.
        """
        name = environ.get(contract.TRAINING_JOB_NAME_VARIABLE, "")
        arn = environ.get(contract.TRAINING_JOB_ARN_VARIABLE, "")
        tags = {"sagemaker.job_arn": arn}
        tags |= {"mlflow.source.type": "JOB", "mlflow.source.name": arn or name}
        experiment = environ.get(_EXPERIMENT_VARIABLE) or _DEFAULT_EXPERIMENT
        self._client = _load_client(environ[URI_VARIABLE])
        try:
            found = self._client.get_experiment_by_name(experiment)
            if found:
                place = found.experiment_id
            else:
                place = self._client.create_experiment(experiment, tags=_EXPERIMENT_TAGS)
            run = self._client.create_run(place, run_name=name or None, tags=tags)
        except Exception as error:
            raise UserError(
                f"no run can be created in MLflow: {recorded_run.describe(error)}"
            ) from error
        self._identity = str(run.info.run_id)
        super().__init__(f"run {self._identity} in the experiment {experiment!r}")

    def send_parameters(self, parameters: Mapping[str, str]) -> None:
        """Send parameters in batches of the size that a server takes."""
        entities = importlib.import_module("mlflow.entities")
        params = [entities.Param(clean_name(name), value) for name, value in parameters.items()]
        for start in range(0, len(params), _BATCH_PARAMETERS):
            batch = params[start : start + _BATCH_PARAMETERS]
            self._client.log_batch(self._identity, params=batch)

    def upload(self, directory: Path, name: str, manifest: artifact.Manifest | None) -> None:
        """Upload a directory; with a manifest it becomes a model that `mlflow.pyfunc` loads."""
        self._client.log_artifacts(self._identity, str(directory), name)
        if manifest is None:
            return
        flavor = {"loader_module": _LOADER, "python_version": platform.python_version()}
        signature = {
            "inputs": _describe_tensor(manifest.input_dtype, manifest.input_shape),
            "outputs": _describe_tensor("float32", (len(manifest.classes),)),
        }
        document = {
            "artifact_path": name,
            "run_id": self._identity,
            "utc_time_created": str(dt.datetime.now(dt.UTC).replace(tzinfo=None)),
            "flavors": {"python_function": flavor},
            "signature": signature,
        }
        self._client.log_text(self._identity, json.dumps(document, indent=2), f"{name}/MLmodel")
        self._client.set_tag(self._identity, _MODELS_TAG, json.dumps([document]))

    def send(self, items: Sequence[tuple[Value, int]]) -> None:
        """Send values, each with its time."""
        entities = importlib.import_module("mlflow.entities")
        metrics = [
            entities.Metric(clean_name(value.name), value.value, time_ms, value.step)
            for value, time_ms in items
        ]
        self._client.log_batch(self._identity, metrics=metrics)

    def close(self, status: str) -> None:
        """Close the run as FINISHED, FAILED or KILLED."""
        self._client.set_terminated(self._identity, status)


def _load_client(uri: str) -> Any:
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        mlflow = importlib.import_module("mlflow")
    except ModuleNotFoundError as error:
        raise UserError(
            f"{URI_VARIABLE} is set, and the package mlflow is not in this image; install "
            f"mlflow-skinny in the image, or set {MLFLOW_SWITCH}=false to train without it"
        ) from error
    try:
        return mlflow.MlflowClient(tracking_uri=uri)
    except Exception as error:
        raise UserError(f"{URI_VARIABLE}: {recorded_run.describe(error)}") from error


def _describe_tensor(dtype: str, shape: Sequence[int]) -> str:
    """Describe an array with any number of rows, as a signature does."""
    return json.dumps([{"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": [-1, *shape]}}])


def clean_name(name: str) -> str:
    """Return a name that MLflow takes: letters, digits, `_`, `-`, `.`, `/` and spaces."""
    return _FOREIGN.sub("_", name)[:_NAME_CHARACTERS]
