"""SageMaker's container contract: its paths, files, variables, limits and line formats.

Rules of this file: standard library only; names quote the platform; no policy of ours. A comment's
ID (TF-1, HO-4) is the clause that a line obeys. Tests spell these values a second time, as
literals: a wrong name agrees with itself.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from container.errors import PlatformError

# Variables that the platform, its toolkits (TK-1, TK-2) or its local modes set.
BASE_DIR_VARIABLE: Final = "SAGEMAKER_BASE_DIR"
BIND_TO_PORT_VARIABLE: Final = "SAGEMAKER_BIND_TO_PORT"
BATCH_VARIABLE: Final = "SAGEMAKER_BATCH"
BATCH_STRATEGY_VARIABLE: Final = "SAGEMAKER_BATCH_STRATEGY"
MAX_CONCURRENT_TRANSFORMS_VARIABLE: Final = "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS"
MAX_PAYLOAD_VARIABLE: Final = "SAGEMAKER_MAX_PAYLOAD_IN_MB"
MULTI_MODEL_VARIABLE: Final = "SAGEMAKER_MULTI_MODEL"
DEFAULT_ACCEPT_VARIABLE: Final = "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT"
TRAINING_JOB_NAME_VARIABLE: Final = "TRAINING_JOB_NAME"
TRAINING_JOB_ARN_VARIABLE: Final = "TRAINING_JOB_ARN"
PROGRAM_VARIABLE: Final = "SAGEMAKER_PROGRAM"
TRAINING_MODULE_VARIABLE: Final = "SAGEMAKER_TRAINING_MODULE"
SUBMIT_DIRECTORY_VARIABLE: Final = "SAGEMAKER_SUBMIT_DIRECTORY"
CREDENTIALS_VARIABLES: Final = (  # SEC-1, SEC-2: none of them is there under network isolation
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_ACCESS_KEY_ID",
)

# Labels by which an image declares its capabilities, with the value "true" (IMG-12).
MULTI_MODEL_LABEL: Final = "com.amazonaws.sagemaker.capabilities.multi-models"
BIND_TO_PORT_LABEL: Final = "com.amazonaws.sagemaker.capabilities.accept-bind-to-port"
BIDIRECTIONAL_LABEL: Final = "com.amazonaws.sagemaker.capabilities.bidirectional-streaming"
BIDIRECTIONAL_PATH: Final = "/invocations-bidirectional-stream"  # BI-1

# Ports, times and sizes.
DEFAULT_PORT: Final = 8080  # HO-1
FAILURE_REASON_CHARACTERS: Final = 1024  # OUT-2: what DescribeTrainingJob returns
EXIT_MESSAGE_BYTES: Final = 1024  # PR-3: what DescribeProcessingJob returns
TRAINING_STOP_GRACE_S: Final = 120  # OUT-8: SIGTERM, then SIGKILL
SERVING_STOP_GRACE_S: Final = 30  # HO-10
PING_LIMIT_S: Final = 2  # HO-4
INVOCATION_LIMIT_S: Final = 60  # HO-8
REALTIME_PAYLOAD_BYTES: Final = 25 * 1024**2  # HO-9
TRANSFORM_PAYLOAD_DEFAULT_MB: Final = 6  # BT-3
TRANSFORM_PAYLOAD_BYTES: Final = 100 * 1024**2  # BT-11
CUSTOM_ATTRIBUTES_HEADER: Final = "X-Amzn-SageMaker-Custom-Attributes"  # RQ-5

# Script mode: hyperparameters that name the program and where its code comes from (TK-1, IN-12,
# SDK-1).
PROGRAM_HYPERPARAMETER: Final = "sagemaker_program"
SUBMIT_DIRECTORY_HYPERPARAMETER: Final = "sagemaker_submit_directory"
CODE_CHANNEL: Final = "code"

CHANNEL_NAME_PATTERN: Final = re.compile(r"[A-Za-z0-9.\-_]{1,64}")  # IN-1

# HP-5: arrive among the user's hyperparameters, and belong to the platform or its SDK.
_PLATFORM_HYPERPARAMETERS: Final = frozenset(
    {"_tuning_objective_metric", "model_dir", "mp_parameters"}
)
_PLATFORM_HYPERPARAMETER_PREFIX: Final = "sagemaker_"


def is_platform_hyperparameter(name: str) -> bool:
    """Return whether the platform or an SDK set this hyperparameter, not the user (HP-5)."""
    return name in _PLATFORM_HYPERPARAMETERS or name.startswith(_PLATFORM_HYPERPARAMETER_PREFIX)


@dataclass(frozen=True)
class Layout:
    """The directory tree that the platform and the container share."""

    base: Path = Path("/opt/ml")

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Layout:
        """Read the root of the tree from `SAGEMAKER_BASE_DIR`; by default it is `/opt/ml`."""
        return cls(Path(environ.get(BASE_DIR_VARIABLE) or "/opt/ml"))

    @property
    def hyperparameters(self) -> Path:
        """Hyperparameters, a JSON object of strings (TF-1)."""
        return self.base / "input/config/hyperparameters.json"

    @property
    def input_data_config(self) -> Path:
        """Channels by name (TF-1)."""
        return self.base / "input/config/inputdataconfig.json"

    @property
    def resource_config(self) -> Path:
        """Hosts of a training job (TF-1)."""
        return self.base / "input/config/resourceconfig.json"

    @property
    def input_data(self) -> Path:
        """Directory of the channels; never listed, `inputdataconfig.json` names them (TF-3)."""
        return self.base / "input/data"

    def channel(self, name: str) -> Path:
        """Directory of one channel in File and FastFile mode."""
        return self.input_data / name

    def pipe(self, name: str, epoch: int) -> Path:
        """FIFO of one channel for one epoch, counted from 0, in Pipe mode (IN-4)."""
        return self.input_data / f"{name}_{epoch}"

    @property
    def model(self) -> Path:
        """Directory that becomes `model.tar.gz` (OUT-3) and is unpacked for serving (HO-2)."""
        return self.base / "model"

    @property
    def models(self) -> Path:
        """Directory of the models of a multi-model endpoint (MME-1)."""
        return self.base / "models"

    @property
    def output_data(self) -> Path:
        """Directory that becomes `output.tar.gz` (OUT-4)."""
        return self.base / "output/data"

    @property
    def failure(self) -> Path:
        """File whose start becomes `FailureReason` (OUT-2)."""
        return self.base / "output/failure"

    @property
    def message(self) -> Path:
        """File whose start becomes a processing job's `ExitMessage` (PR-3)."""
        return self.base / "output/message"

    @property
    def code(self) -> Path:
        """Directory of a user's own program, baked into the image or unpacked there (TK-1)."""
        return self.base / "code"

    @property
    def success(self) -> Path:
        """Empty file that script-mode toolkits leave after success (OUT-1)."""
        return self.base / "output/success"

    @property
    def checkpoints(self) -> Path:
        """Directory that is synchronized with S3 while the job runs (CK-1)."""
        return self.base / "checkpoints"

    @property
    def tensorboard(self) -> Path:
        """Directory of event files that `TensorBoardOutputConfig` synchronizes."""
        return self.base / "output/tensorboard"

    @property
    def processing_job_config(self) -> Path:
        """Request of a processing job (PR-1); absent in other jobs."""
        return self.base / "config/processingjobconfig.json"

    @property
    def processing_resource_config(self) -> Path:
        """Hosts of a processing job (PR-1); absent in other jobs."""
        return self.base / "config/resourceconfig.json"

    @property
    def processing(self) -> Path:
        """Directory of a processing job's inputs and outputs (PR-2)."""
        return self.base / "processing"


@dataclass(frozen=True)
class Channel:
    """One entry of `inputdataconfig.json`; absent keys have the platform's defaults."""

    name: str
    content_type: str | None = None
    input_mode: str = "File"
    distribution: str = "FullyReplicated"
    record_wrapper: str = "None"


@dataclass(frozen=True)
class Resources:
    """`resourceconfig.json`: the hosts of a training job, sorted as strings (DS-1)."""

    current_host: str = "algo-1"
    hosts: tuple[str, ...] = ("algo-1",)
    network_interface_name: str = "eth0"

    @property
    def rank(self) -> int:
        """Index of this host among the sorted hosts; 0 is the leader (DS-1)."""
        return self.hosts.index(self.current_host)


@dataclass(frozen=True)
class TrainingConfig:
    """The three documented files of a training job (TF-1); a missing file counts as empty."""

    hyperparameters: Mapping[str, str] = field(default_factory=dict)
    channels: Mapping[str, Channel] = field(default_factory=dict)
    resources: Resources = field(default_factory=Resources)


def load_json_object(path: Path) -> dict[str, Any]:
    """Load a JSON object from `path`; a missing or empty file is `{}` (TF-1).

    Raises: PlatformError if the file cannot be read, or is not a JSON object.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise PlatformError(f"{path} cannot be read: {error}") from error
    if not text.strip():
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PlatformError(f"{path} is not JSON: {error}") from error
    if not isinstance(value, dict):
        message = f"{path} holds a JSON {type(value).__name__}; a JSON object is expected"
        raise PlatformError(message)
    return value


def load_training_config(layout: Layout) -> TrainingConfig:
    """Load the three documented files of a training job.

    Hyperparameter values that are not strings (SDK local mode, LM-4) become their JSON text; empty
    ones are dropped, as the service drops them (HP-4).

    Raises: PlatformError if a file is unreadable or does not follow the contract.
    """
    hyperparameters = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in load_json_object(layout.hyperparameters).items()
        if value != ""
    }
    channels = {}
    for name, entry in load_json_object(layout.input_data_config).items():
        if not isinstance(entry, dict):
            raise PlatformError(
                f"{layout.input_data_config}: channel {name!r} is {entry!r}; an object is expected"
            )
        channels[name] = Channel(
            name=name,
            content_type=entry.get("ContentType") or None,
            input_mode=entry.get("TrainingInputMode") or "File",
            distribution=entry.get("S3DistributionType") or "FullyReplicated",
            record_wrapper=entry.get("RecordWrapperType") or "None",
        )
    return TrainingConfig(hyperparameters, channels, load_resources(layout.resource_config))


def load_resources(path: Path) -> Resources:
    """Load the hosts of a job from its `resourceconfig.json`; without one, there is one host.

    Raises: PlatformError if the file is unreadable or does not follow the contract.
    """
    document = load_json_object(path)
    if not document:
        return Resources()
    current = document.get("current_host")
    hosts = document.get("hosts")
    if not isinstance(current, str) or not isinstance(hosts, list) or current not in hosts:
        raise PlatformError(f"{path}: current_host {current!r} must be one of hosts {hosts!r}")
    interface = document.get("network_interface_name")
    if not isinstance(interface, str) or not interface:
        interface = Resources.network_interface_name
    return Resources(current, tuple(sorted(hosts)), interface)


# Each metric is printed as `name=value;` and matched by the regex of its name (HPO-1, HPO-2).
# `\b` keeps `loss=` from matching inside `train_loss=`.
METRIC_NAMES: Final = (
    "epoch",
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
    "learning_rate",
    "images_per_s",
    "epoch_time_s",
    "data_stall_share",
    "eta_s",
    "test_accuracy",
    "test_precision",
    "test_recall",
    "test_f1",
    "test_auc",
    "int8_test_accuracy",
)


def define_metrics(names: Iterable[str]) -> list[dict[str, str]]:
    """Define metrics as `MetricDefinitions`, which find what `format_metrics` writes (HPO-1)."""
    return [{"Name": name, "Regex": rf"\b{re.escape(name)}=([0-9.eE+-]+);"} for name in names]


METRIC_DEFINITIONS: Final = tuple(define_metrics(METRIC_NAMES))


def format_metrics(metrics: Mapping[str, float]) -> str:
    """Format metrics as one log line that their regexes match; leave out values not finite.

    A tuner reads the last value printed, and `nan` for the objective fails the tuning job (HPO-2).
    """
    return " ".join(f"{key}={value:.6g};" for key, value in metrics.items() if math.isfinite(value))


def write_failure(layout: Layout, reason: str) -> None:
    """Write the failure file; the platform shows its first 1024 characters (OUT-2)."""
    layout.failure.parent.mkdir(parents=True, exist_ok=True)
    layout.failure.write_text(reason, encoding="utf-8", errors="replace")
