"""What jobs of every kind share: run, stop, describe."""

import abc
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from container import contract
from container.errors import UserError
from local_test import identity
from local_test.data import job_outputs
from local_test.jobs import job_directory, result, status
from local_test.jobs.fleet import Fleet, Outcome
from local_test.jobs.result import JobResult, Listeners, Metric
from local_test.requests.validation import ValidRequest
from local_test.runners.interface import Launch, Runner
from local_test.runners.log_lines import OnLine
from local_test.runners.procfs import name_process

DEFAULT_RUNTIME_S: Final = 86400  # OUT-11


class Job(abc.ABC):
    """One job: call `run` once, and `stop` from any thread (the API's Stop operation)."""

    kind: ClassVar[str]
    """As in the API's names: `Training` of `TrainingJobName`."""

    def __init__(
        self,
        request: ValidRequest,
        runner: Runner,
        directory: Path,
        listeners: Listeners | None = None,
        stop_grace_s: float = contract.TRAINING_STOP_GRACE_S,
    ) -> None:
        """Prepare a job; `directory` is its own and must not exist yet."""
        self.request = request.fields
        self.name: str = self.request[f"{self.kind}JobName"]
        self.directory = directory
        self.hosts = self._name_hosts()
        self._runner = runner
        self._listeners = listeners or Listeners()
        self._stop_grace_s = stop_grace_s
        self._stop_requested = threading.Event()
        self._fleet: Fleet | None = None
        self._findings: list[str] = []
        self._metrics: list[Metric] = []
        self._times_s: dict[str, float] = {}
        """When the job was created, started and ended, by the prefix of the member's name."""

    @abc.abstractmethod
    def _name_hosts(self) -> tuple[str, ...]:
        """Return the names of the job's hosts."""

    @abc.abstractmethod
    def _execute(self) -> Outcome:
        """Do the work, from fetching the input to storing the output.

        Raises: UserError if the request, the data or the container's output is at fault.
        """

    @abc.abstractmethod
    def _describe(self) -> dict[str, Any]:
        """Return the members of the Describe answer that only this kind of job has."""

    def stop(self) -> None:
        """Stop the job: the stop signal, the grace period, SIGKILL."""
        self._stop_requested.set()
        if self._fleet is not None:
            self._fleet.stop("Stopped")

    def run(self) -> JobResult:
        """Run the job to its end; a failure of the container is a result, not an error.

        Raises: UserError if the name is taken, PlatformError if this machine fails.
        """
        self._times_s["Creation"] = time.time()
        result.make_directory(self.directory)
        process = {"process": name_process(os.getpid())}
        documents = {"request.json": self.request, job_directory.PROCESS_FILE: process}
        job_directory.write_documents(self.directory, documents)
        outcome = Outcome()
        failure = ""
        self._begin()
        try:
            outcome = self._execute()
        except UserError as error:
            failure = f"ClientError: {error}"
        self._times_s.setdefault(f"{self.kind}Start", time.time())
        self._times_s.setdefault(f"{self.kind}End", time.time())
        has_failed = bool(failure) or (bool(outcome.failed_host) and not outcome.stop_reason)
        primary, secondary = status.judge(outcome.stop_reason, has_failed=has_failed)
        if primary == "Failed" and not failure:
            failure = self._explain(outcome)
        self._end(primary, secondary, failure)
        description = {
            **{name: value for name, value in self.request.items() if name != "Tags"},
            f"{self.kind}JobArn": identity.arn(f"{self.kind.lower()}-job", self.name),
            f"{self.kind}JobStatus": primary,
            **self._describe(),
        }
        for name, seconds in self._times_s.items():
            description[f"{name}Time"] = result.format_time(seconds)
        if failure:
            description["FailureReason"] = failure[: contract.FAILURE_REASON_CHARACTERS]
        job_directory.write_documents(self.directory, {"description.json": description})
        return JobResult(
            *(description, self.directory, primary, failure),
            *(self._findings, self._metrics, outcome),
        )

    def _begin(self) -> None:
        self._listeners.on_status("InProgress", "")

    def _end(self, primary: str, secondary: str, failure: str) -> None:
        del secondary  # only training jobs have one
        self._listeners.on_status(primary, failure)

    def _explain(self, outcome: Outcome) -> str:
        host = outcome.failed_host or self.hosts[0]
        return job_outputs.explain_exit(
            outcome.exit_codes.get(host, 1), outcome.notes.get(host, "")
        )

    def _root(self, host: str) -> Path:
        return self.directory / "hosts" / host

    def _make_launch(
        self,
        host: str,
        program: Mapping[str, Any],
        environment: Mapping[str, str],
        *,
        is_isolated: bool,
    ) -> Launch:
        """Return how a host starts; `program` has the request's entry point and arguments."""
        network = ""
        if len(self.hosts) > 1:
            network = f"local-test-{self.kind.lower()}-{self.name}"
        return Launch(
            name=host,
            arguments=tuple(program.get("ContainerArguments", ())),
            entrypoint=tuple(program.get("ContainerEntrypoint", ())) or None,
            root=self._root(host),
            environment=environment,
            peers=self.hosts,
            network=network,
            is_isolated=is_isolated,
        )

    def _run_containers(
        self,
        launches: Sequence[Launch],
        on_line: OnLine,
        *,
        max_runtime_s: float,
        stop_signal: int,
        on_started: Callable[[], None] = lambda: None,
    ) -> Outcome:
        with result.log_files(self.directory / "logs", self.hosts, on_line) as on_logged_line:
            self._fleet = Fleet(self._runner, launches, on_logged_line)
            if self._stop_requested.is_set():  # before there was a fleet to stop
                self._fleet.stop("Stopped")
            return self._fleet.run(
                max_runtime_s=max_runtime_s,
                grace_s=self._stop_grace_s,
                stop_signal=stop_signal,
                on_started=on_started,
            )


def count_hosts(count: int) -> tuple[str, ...]:
    """Return the names of a job's hosts: algo-1, algo-2, ..."""
    return tuple(f"algo-{number}" for number in range(1, count + 1))
