"""One tuning job of the account: the logs and ends of its training jobs, and the best of them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from local_test.jobs.result import JobResult, Listeners
from local_test.remote.access import Account
from local_test.remote.log_reader import LogReader
from local_test.remote.refusals import explaining
from local_test.remote.remote_jobs import (
    ENDED,
    QUIET_POLLS,
    TRAINING,
    Kind,
    RemoteJob,
    write_document,
)

TUNING: Final = Kind("HyperParameterTuning", TRAINING.group)
_OBJECTIVE: Final = "FinalHyperParameterTuningJobObjectiveMetric"
_SIGNS: Final = {"Maximize": 1, "Minimize": -1}


class RemoteTuningJob(RemoteJob):
    """A tuning job; `follow` shows the log and the end of each of its training jobs, too."""

    def __init__(
        self, account: Account, request: Mapping[str, Any], directory: Path, listeners: Listeners
    ) -> None:
        """`directory` is the job's own on this disk."""
        super().__init__(account, TUNING, request, directory, listeners)
        self._summaries: dict[str, Mapping[str, Any]] = {}
        """Of the training jobs, by name, as they were when they were last asked for."""
        self._logs: dict[str, LogReader] = {}
        self._quiet: dict[str, int] = {}
        """How many reads of an ended training job's log have found nothing."""

    def follow(self) -> JobResult:
        """Show status, log and training jobs until the tuning job has ended; return its result.

        Raises: UserError or PlatformError if the service cannot be asked any more.
        """
        result = super().follow()
        write_document(self.directory / "training-jobs.json", list(self._summaries.values()))
        return result

    def describe_training(self, name: str) -> dict[str, Any]:
        """Return the service's description of a training job.

        Raises: UserError or PlatformError if the service cannot be asked.
        """
        with explaining():
            return TRAINING.call(self._account, "describe", TrainingJobName=name)

    def _read_log(self) -> int:
        """Pass on what is new in all logs, and each change of a training job; return the count."""
        count = 0
        ended = sum(map(_has_ended, self._summaries.values()))
        for summary in self._list_summaries():
            name = str(summary["TrainingJobName"])
            count += self._read_one(name, has_ended=_has_ended(summary))
            before = self._summaries.get(name, {})
            self._summaries[name] = summary
            if before.get("TrainingJobStatus") != summary["TrainingJobStatus"]:
                count += 1
                self._announce(name, summary)
        if ended < sum(map(_has_ended, self._summaries.values())):
            self._show_progress()
        return count

    def _list_summaries(self) -> Iterator[Mapping[str, Any]]:
        noun = "list_training_jobs_for_hyper_parameter_tuning_job"
        pages = self._account.client("sagemaker").get_paginator(noun)
        where = {TUNING.name: self.name, "SortBy": "CreationTime", "SortOrder": "Ascending"}
        for page in pages.paginate(**where):
            yield from page["TrainingJobSummaries"]

    def _read_one(self, name: str, *, has_ended: bool) -> int:
        if self._quiet.get(name) == QUIET_POLLS:
            return 0
        if name not in self._logs:
            label = self._shorten(name)
            self._logs[name] = LogReader(
                self._account,
                TRAINING.group,
                f"{name}/",
                lambda host, line: self._see_line(f"{label}/{host}", line),
            )
        count = self._logs[name].read()
        if has_ended:
            self._quiet[name] = 0 if count else self._quiet.get(name, 0) + 1
        return count

    def _shorten(self, name: str) -> str:
        return name.removeprefix(f"{self.name}-")

    def _announce(self, name: str, summary: Mapping[str, Any]) -> None:
        tuned = summary.get("TunedHyperParameters", {})
        text = ", ".join(f"{key}={value}" for key, value in tuned.items())
        if objective := summary.get(_OBJECTIVE):
            text = f"{objective['MetricName']}={objective['Value']:.6g} with {text}"
        if reason := summary.get("FailureReason"):
            text += f": {reason}"
        self._listeners.on_status(f"{self._shorten(name)} {summary['TrainingJobStatus']}", text)

    def _show_progress(self) -> None:
        limits = self._request["HyperParameterTuningJobConfig"]["ResourceLimits"]
        most = limits.get("MaxNumberOfTrainingJobs")
        ended = sum(map(_has_ended, self._summaries.values()))
        head = f"{ended} of {most}" if most else str(ended)
        text = "training jobs have ended"
        measured = [item for item in self._summaries.values() if _OBJECTIVE in item]
        if measured:
            best = max(measured, key=self._rank)
            objective = best[_OBJECTIVE]
            name = self._shorten(best["TrainingJobName"])
            text += f"; the best: {name}, {objective['MetricName']}={objective['Value']:.6g}"
        self._listeners.on_status(head, text)

    def _rank(self, summary: Mapping[str, Any]) -> float:
        objective = summary[_OBJECTIVE]
        config = self._request["HyperParameterTuningJobConfig"]
        wanted = config.get("HyperParameterTuningJobObjective", {}).get("Type", "Maximize")
        return float(_SIGNS[objective.get("Type", wanted)] * objective["Value"])


def _has_ended(summary: Mapping[str, Any]) -> bool:
    return summary["TrainingJobStatus"] in ENDED
