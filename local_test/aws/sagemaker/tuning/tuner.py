"""The thread of a tuning job: it starts training jobs, learns from them, and stops hopeless ones.

All that a tuning job knows is in its record and in the records and metrics of its training jobs, so
that the next local AWS continues where this one was killed.
"""

import contextlib
import sys
import time
import traceback
import uuid
from collections.abc import Sequence
from typing import Any, Final, cast

from container.errors import UserError
from local_test.aws.account.account import Account
from local_test.aws.account.kinds import TRAINING_JOB, TUNING_JOB
from local_test.aws.account.records import TrainingJob, TuningJob
from local_test.aws.protocol.messages import AwsError
from local_test.aws.sagemaker import job_operations, live_jobs
from local_test.aws.sagemaker.tuning import early_stopping
from local_test.aws.sagemaker.tuning.definitions import read_definitions
from local_test.aws.sagemaker.tuning.early_stopping import Run
from local_test.aws.sagemaker.tuning.judgement import Verdict, judge
from local_test.aws.sagemaker.tuning.searchers import make_searcher
from local_test.data.disk import DiskError
from local_test.jobs.status import INTERNAL_ERROR_MESSAGE, UNFINISHED
from local_test.requests.validation import validate

_LOOK_S: Final = 1.0  # between two checks of time limits; ends and metrics wake the tuner at once


def start(account: Account, name: str) -> None:
    """Start the thread of a tuning job."""
    account.start_thread(f"tuning {name}", lambda: _run(account, name))


def list_jobs(account: Account, name: str) -> list[TrainingJob]:
    """Return the training jobs of a tuning job, oldest first."""
    return [job for job in account.store.list(TRAINING_JOB) if job.get("_tuning") == name]


def _run(account: Account, name: str) -> None:
    try:
        verdict = _Tuner(account, name).tune()
    except (AwsError, UserError, DiskError) as error:  # the service would refuse the training job
        verdict = Verdict("Failed", str(error))
    except Exception:  # noqa: BLE001 - a bug of ours ends the tuning job, not the server
        traceback.print_exc(file=sys.stderr)
        verdict = Verdict("Failed", INTERNAL_ERROR_MESSAGE)
    if verdict is None:
        return
    for job in list_jobs(account, name):
        _stop(account, job)
    end = {
        "HyperParameterTuningJobStatus": verdict.status,
        "HyperParameterTuningEndTime": time.time(),
        "FailureReason": verdict.failure[:1024] or None,
    }
    account.store.note(TUNING_JOB, name, lambda record: cast("Any", record).update(end))


def _stop(account: Account, job: TrainingJob) -> None:
    if job["TrainingJobStatus"] == "InProgress":
        request = {"TrainingJobName": job["TrainingJobName"]}
        with contextlib.suppress(AwsError):  # it has ended meanwhile
            job_operations.stop_job(account, live_jobs.TRAINING, request)


class _Tuner:
    """One running tuning job."""

    def __init__(self, account: Account, name: str) -> None:
        self._account = account
        self._name = name
        request = self._read_record()["_request"]
        self._config = request["HyperParameterTuningJobConfig"]
        self._definitions = read_definitions(request)
        tried = [job["_definition"] for job in list_jobs(account, name)]
        self._searchers = [
            make_searcher(self._config, definition.ranges, index, tried.count(index))
            for index, definition in enumerate(self._definitions)
        ]
        self._is_exhausted = False
        self._waiting: list[float] | None = None
        """A point that waits for a free instance."""
        self._learned: set[str] = set()
        for parent in request.get("WarmStartConfig", {}).get("ParentHyperParameterTuningJobs", ()):
            for job in list_jobs(account, parent["HyperParameterTuningJobName"]):
                for index in range(len(self._definitions)):
                    self._learn(job, index)

    def tune(self) -> Verdict | None:
        """Tune until the job ends; return None if the local AWS stops first."""
        while True:
            seen = self._account.change_count()
            jobs = list_jobs(self._account, self._name)
            self._learn_from_ended(jobs)
            is_closing = self._account.is_closing.is_set()
            verdict = judge(
                self._read_record(), self._definitions, jobs, is_exhausted=self._is_exhausted
            )
            if verdict is None and not is_closing:
                self._stop_hopeless(jobs)
                self._start_jobs(jobs)
            else:
                running = [job for job in jobs if job["TrainingJobStatus"] in UNFINISHED]
                for job in running:
                    _stop(self._account, job)
                if not running or is_closing:
                    return verdict
            self._account.wait_for_change(seen, _LOOK_S)

    def _read_record(self) -> TuningJob:
        found = self._account.store.find(TUNING_JOB, self._name)
        assert found is not None  # noqa: S101 - tuning jobs are never deleted
        return found

    def _learn_from_ended(self, jobs: Sequence[TrainingJob]) -> None:
        for job in jobs:
            name = job["TrainingJobName"]
            if job["TrainingJobStatus"] not in UNFINISHED and name not in self._learned:
                self._learned.add(name)
                self._learn(job, job["_definition"])

    def _learn(self, job: TrainingJob, index: int) -> None:
        definition = self._definitions[index]
        value = definition.final_value(job)
        if value is None:
            return
        tuned = job["_tuned"]
        point = []
        for item in definition.ranges:
            position = item.locate(tuned[item.name]) if item.name in tuned else None
            if position is None:  # a parent searched another space
                return
            point.append(position)
        self._searchers[index].learn(job.get("_point") or point, definition.sign * value)

    def _start_jobs(self, jobs: Sequence[TrainingJob]) -> None:
        """Start as many training jobs as may run now."""
        limits = self._config["ResourceLimits"]
        running = sum(job["TrainingJobStatus"] in UNFINISHED for job in jobs)
        most = limits.get("MaxNumberOfTrainingJobs", sys.maxsize)
        free = limits["MaxParallelTrainingJobs"] - running
        for number in range(len(jobs), min(len(jobs) + free, most)):
            if self._is_exhausted or not self._start_job(number):
                return

    def _start_job(self, number: int) -> bool:
        """Start the next training job; return False if nothing is left to try, or no instance free.

        Raises: AwsError or UserError for a request that the service does not accept.
        """
        index = number % len(self._definitions)
        definition = self._definitions[index]
        point = self._waiting or self._searchers[index].propose()
        if point is None:
            self._is_exhausted = True
            return False
        tuned = {
            item.name: item.format(position)
            for item, position in zip(definition.ranges, point, strict=True)
        }
        name = f"{self._name}-{number + 1:03}-{uuid.uuid4().hex[:8]}"
        extra = {
            "TuningJobArn": self._account.arn(TUNING_JOB.name, self._name),
            "_tuning": self._name,
            "_tuned": tuned,
            "_point": point,
            "_definition": index,
            "_bracket": number,
        }
        try:
            request = definition.make_request(name, tuned)
            if tags := self._read_record().get("Tags"):
                request["Tags"] = tags  # Source: Tags of CreateHyperParameterTuningJob
            valid = validate("CreateTrainingJob", request)
            job_operations.start_training_job(self._account, valid, extra)
        except AwsError as error:
            if error.code != "ResourceLimitExceeded":
                raise
            self._waiting = point
            return False
        self._waiting = None
        return True

    def _stop_hopeless(self, jobs: Sequence[TrainingJob]) -> None:
        if not early_stopping.is_enabled(self._config):
            return
        hopeless = early_stopping.find_hopeless(self._config, [self._read_run(job) for job in jobs])
        for job in jobs:
            if job["TrainingJobName"] in hopeless:
                _stop(self._account, job)

    def _read_run(self, job: TrainingJob) -> Run:
        name = job["TrainingJobName"]
        index = job["_definition"]
        definition = self._definitions[index]
        values = [
            definition.sign * metric.value
            for metric in self._account.metrics.read(name)
            if metric.name == definition.metric
        ]
        return Run(name, job["TrainingJobStatus"], index, job["_bracket"], values)
