"""The training job definitions of a tuning job, and the checks of its configuration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from local_test.aws.account.records import TrainingJob
from local_test.aws.sagemaker.tuning.ranges import Range, parse_ranges

_MOST_TUNED: Final = 30  # HPO-5
_MOST_HYPERPARAMETERS: Final = 100  # HPO-5
_OWN_MEMBERS: Final = ("DefinitionName", "TuningObjective", "HyperParameterRanges")
_RESOURCES: Final = ("InstanceType", "InstanceCount", "VolumeSizeInGB", "VolumeKmsKeyId")
SIGNS: Final = {"Maximize": 1, "Minimize": -1}


@dataclass(frozen=True)
class Definition:
    """One training job definition and its search space."""

    request: Mapping[str, Any]
    ranges: list[Range]
    metric: str
    """Name of the objective metric."""
    sign: int
    """1 to maximize, -1 to minimize."""

    @property
    def name(self) -> str:
        """The DefinitionName, or an empty string."""
        return str(self.request.get("DefinitionName", ""))

    @property
    def objective(self) -> dict[str, str]:
        """The objective in the API's form."""
        return {"Type": "Maximize" if self.sign == 1 else "Minimize", "MetricName": self.metric}

    def final_value(self, job: TrainingJob) -> float | None:
        """Return the objective's last value of a training job that ended with one."""
        if job["TrainingJobStatus"] not in ("Completed", "Stopped"):
            return None
        values = {item["MetricName"]: item["Value"] for item in job.get("FinalMetricDataList", ())}
        return values.get(self.metric)

    def make_request(self, name: str, tuned: Mapping[str, str]) -> dict[str, Any]:
        """Return the CreateTrainingJob request for one choice of hyperparameters."""
        request = {key: value for key, value in self.request.items() if key not in _OWN_MEMBERS}
        resources = request.pop("HyperParameterTuningResourceConfig", None)
        if resources is not None:
            chosen = {key: resources[key] for key in _RESOURCES if key in resources}
            request.setdefault("ResourceConfig", chosen)
        static = request.pop("StaticHyperParameters", {})
        hyperparameters = {**static, **tuned, "_tuning_objective_metric": self.metric}
        return {**request, "TrainingJobName": name, "HyperParameters": hyperparameters}


def read_definitions(
    request: Mapping[str, Any], faults: list[str] | None = None
) -> list[Definition]:
    """Read a CreateHyperParameterTuningJob request; add what is wrong with it to `faults`."""
    if faults is None:
        faults = []
    if ("TrainingJobDefinition" in request) == ("TrainingJobDefinitions" in request):
        faults.append("One of TrainingJobDefinition and TrainingJobDefinitions must be given")
        return []
    items = request.get("TrainingJobDefinitions") or [request["TrainingJobDefinition"]]
    config = request["HyperParameterTuningJobConfig"]
    found = [_read_definition(item, config, faults) for item in items]
    return [definition for definition in found if definition is not None]


def _read_definition(
    request: Mapping[str, Any], config: Mapping[str, Any], faults: list[str]
) -> Definition | None:
    objective = request.get("TuningObjective") or config.get("HyperParameterTuningJobObjective")
    ranges = request.get("HyperParameterRanges") or config.get("ParameterRanges") or {}
    if not objective:
        faults.append("HyperParameterTuningJobObjective is required for a custom algorithm")
        return None
    if not any(ranges.values()):
        faults.append("ParameterRanges is required")
        return None
    if ranges.get("AutoParameters"):
        faults.append("AutoParameters are not emulated; define a range for each hyperparameter")
    metrics = [
        metric["Name"] for metric in request["AlgorithmSpecification"].get("MetricDefinitions", ())
    ]
    if objective["MetricName"] not in metrics:
        faults.append(
            f"The objective metric {objective['MetricName']!r} is not among the metric "
            f"definitions: {', '.join(metrics) or 'none'}"
        )
    parsed = parse_ranges(ranges, faults)
    _check_hyperparameters(parsed, request.get("StaticHyperParameters", {}), faults)
    return Definition(request, parsed, objective["MetricName"], SIGNS[objective["Type"]])


def _check_hyperparameters(
    ranges: Sequence[Range], static: Mapping[str, str], faults: list[str]
) -> None:
    both = sorted({item.name for item in ranges} & static.keys())
    if both:
        faults.append(f"Hyperparameters are both static and tuned: {', '.join(both)}")
    if len(ranges) > _MOST_TUNED:
        faults.append(f"{len(ranges)} hyperparameters are tuned; at most {_MOST_TUNED} can be")
    count = len(ranges) + len(static) + 1
    if count > _MOST_HYPERPARAMETERS:
        faults.append(
            f"{count} hyperparameters including the name of the objective metric; at most "
            f"{_MOST_HYPERPARAMETERS} are allowed"
        )


def check_configuration(
    request: Mapping[str, Any], definitions: Sequence[Definition], faults: list[str]
) -> None:
    """Add what is wrong with the strategy and the limits to `faults`."""
    config = request["HyperParameterTuningJobConfig"]
    limits = config["ResourceLimits"]
    most = limits.get("MaxNumberOfTrainingJobs")
    if config["Strategy"] == "Grid":
        kinds = {item.kind for definition in definitions for item in definition.ranges}
        if kinds - {"Categorical"}:
            faults.append("Grid search takes categorical ranges only")
        if "WarmStartConfig" in request:
            faults.append("Grid search cannot be warm started")
    elif most is None and "MaxRuntimeInSeconds" not in limits:
        faults.append("ResourceLimits.MaxNumberOfTrainingJobs is required")
    parallel = limits["MaxParallelTrainingJobs"]
    if most is not None and parallel > most:
        faults.append(f"MaxParallelTrainingJobs {parallel} exceeds MaxNumberOfTrainingJobs {most}")
    band = config.get("StrategyConfig", {}).get("HyperbandStrategyConfig", {})
    low = band.get("MinResource", 1)
    high = band.get("MaxResource", 81)
    if low >= high:
        faults.append(f"MinResource {low} must be less than MaxResource {high}")
    if request.get("Autotune", {}).get("Mode") == "Enabled":
        faults.append("Autotune is not emulated")
    _check_not_emulated(config, definitions, faults)


def _check_not_emulated(
    config: Mapping[str, Any], definitions: Sequence[Definition], faults: list[str]
) -> None:
    criteria = config.get("TuningJobCompletionCriteria", {})
    if criteria.get("ConvergenceDetected", {}).get("CompleteOnConvergence") == "Enabled":
        faults.append("TuningJobCompletionCriteria.ConvergenceDetected is not emulated")
    for definition in definitions:
        resources = definition.request.get("HyperParameterTuningResourceConfig", {})
        faults += [
            f"HyperParameterTuningResourceConfig.{name} is not emulated; use InstanceType"
            for name in ("InstanceConfigs", "AllocationStrategy")
            if name in resources
        ]
