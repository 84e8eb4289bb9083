"""A processing job from its CreateProcessingJob request to its DescribeProcessingJob answer (PR-1 to PR-5)."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from typing import Any

from container import contract
from container.errors import UserError
from local_test import identity
from local_test.data import job_outputs, storage
from local_test.jobs import job_directory, result
from local_test.jobs.fleet import Fleet, Outcome
from local_test.jobs.result import JobResult, Listeners
from local_test.requests.validation import ValidRequest
from local_test.runners.interface import Launch, Runner

_MOUNT_POINT = "/opt/ml/"


class ProcessingJob:
    """One processing job; `run` once, `stop` from any thread (StopProcessingJob)."""

    def __init__(
        self,
        request: ValidRequest,
        runner: Runner,
        directory: Path,
        listeners: Listeners | None = None,
        *,
        stop_grace_s: float = contract.TRAINING_STOP_GRACE_S,
    ) -> None:
        """`directory` is the job's own and must not exist.

        Raises: UserError for a request that the service, or this machine, does not take, or if the
        name is taken.
        """
        self.request = request.fields
        self.name: str = self.request["ProcessingJobName"]
        self.directory = directory
        self._runner = runner
        self._listeners = listeners or Listeners()
        self._stop_grace_s = stop_grace_s
        self._fleet: Fleet | None = None
        self._stop_requested = threading.Event()

    def stop(self) -> None:
        """Stop the job: SIGINT, the grace, SIGKILL (PR-4)."""
        self._stop_requested.set()
        if self._fleet is not None:
            self._fleet.stop("Stopped")

    def run(self) -> JobResult:
        """Run the job to its end; a failure of the container is a result, not an error."""
        created = time.time()
        result.make_directory(self.directory)
        job_directory.write_documents(self.directory, {"request.json": self.request})
        count = self.request["ProcessingResources"]["ClusterConfig"]["InstanceCount"]
        hosts = [f"algo-{index + 1}" for index in range(count)]
        outcome, failure, findings = Outcome(), "", []
        self._listeners.on_status("InProgress", "")
        started = time.time()
        try:
            launches = [self._prepare(host, hosts) for host in hosts]
            started = time.time()
            with result.log_files(
                self.directory / "logs", hosts, self._listeners.on_line
            ) as on_line:
                self._fleet = Fleet(self._runner, launches, on_line)
                if self._stop_requested.is_set():
                    self._fleet.stop("Stopped")
                limit = self.request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", 86400)
                outcome = self._fleet.run(
                    max_runtime_s=limit, grace_s=self._stop_grace_s, stop_signal=signal.SIGINT
                )
            findings = self._upload_outputs(hosts)
            message = self._read_exit_message(hosts)
        except UserError as error:
            failure, message = f"ClientError: {error}", ""
        status = "Failed" if failure or outcome.failed_host else "Completed"
        if outcome.stop_reason:
            status = "Stopped"
        elif outcome.failed_host and not failure:
            host = outcome.failed_host
            failure = job_outputs.explain_exit(outcome.exit_codes[host], outcome.notes[host])
        self._listeners.on_status(status, failure)
        description = {
            **{name: value for name, value in self.request.items() if name != "Tags"},
            "ProcessingJobArn": identity.arn("processing-job", self.name),
            "ProcessingJobStatus": status,
            **({"ExitMessage": message} if message else {}),
            **({"FailureReason": failure[: contract.FAILURE_REASON_CHARACTERS]} if failure else {}),
            "CreationTime": result.format_time(created),
            "ProcessingStartTime": result.format_time(started),
            "ProcessingEndTime": result.format_time(time.time()),
            "LastModifiedTime": result.format_time(time.time()),
        }
        job_directory.write_documents(self.directory, {"description.json": description})
        return JobResult(description, self.directory, status, failure, findings, outcome=outcome)

    def _root(self, host: str) -> Path:
        return self.directory / "hosts" / host

    def _prepare(self, host: str, hosts: list[str]) -> Launch:
        root = self._root(host)
        job_directory.write_documents(
            root / "config", job_directory.processing_documents(self.request, host, hosts)
        )
        (root / "output").mkdir(exist_ok=True)
        for item in self.request.get("ProcessingInputs", ()):
            source = item["S3Input"]
            objects = storage.list_objects(source["S3Uri"])
            if source.get("S3DataDistributionType") == "ShardedByS3Key":
                objects = objects[hosts.index(host) :: len(hosts)]
            directory = root / source["LocalPath"].removeprefix(_MOUNT_POINT)
            directory.mkdir(parents=True, exist_ok=True)
            for entry in objects:
                storage.fetch(entry.uri, directory / entry.name)
        for output in self._outputs():
            (root / output["S3Output"]["LocalPath"].removeprefix(_MOUNT_POINT)).mkdir(
                parents=True, exist_ok=True
            )
        application = self.request["AppSpecification"]
        entrypoint = application.get("ContainerEntrypoint")
        is_isolated = self.request.get("NetworkConfig", {}).get("EnableNetworkIsolation", False)
        return Launch(
            name=host,
            arguments=tuple(application.get("ContainerArguments", ())),
            entrypoint=tuple(entrypoint) if entrypoint else None,
            root=root,
            environment={
                **identity.credentials(is_isolated=is_isolated),
                "AWS_REGION": identity.region(),
                **self.request.get("Environment", {}),
            },
            peers=tuple(hosts),
            network=f"local-test-{self.name}" if len(hosts) > 1 else "",
            is_isolated=is_isolated,
        )

    def _outputs(self) -> list[dict[str, Any]]:
        outputs = self.request.get("ProcessingOutputConfig", {}).get("Outputs", [])
        return [output for output in outputs if "S3Output" in output]

    def _upload_outputs(self, hosts: list[str]) -> list[str]:
        """Store every output directory's files under its URI; links are not followed (PR-2)."""
        findings: list[str] = []
        for output in self._outputs():
            place = output["S3Output"]
            stored = 0
            for host in hosts:
                directory = self._root(host) / place["LocalPath"].removeprefix(_MOUNT_POINT)
                members, faults = job_outputs.list_files(directory)
                findings += faults
                for path in members:
                    if path.is_file() and not path.is_symlink():
                        storage.store(
                            path, f"{place['S3Uri'].rstrip('/')}/{path.relative_to(directory)}"
                        )
                        stored += 1
            if not stored:
                findings.append(
                    f"output {output['OutputName']!r} is empty: nothing lies in {place['LocalPath']} (PR-2)"
                )
        return findings

    def _read_exit_message(self, hosts: list[str]) -> str:
        """Give the start of every container's message file, one after the other (PR-3)."""
        text = b""
        for host in hosts:
            path = contract.Layout(self._root(host)).message
            text += path.read_bytes() if path.is_file() else b""
        try:
            return text[: contract.EXIT_MESSAGE_BYTES].decode(
                "utf-8", "strict" if len(text) <= 1024 else "ignore"
            )
        except UnicodeDecodeError as error:
            message = f"output/message is not UTF-8: {error} (PR-3)"
            raise UserError(message) from error
