"""A training job from its CreateTrainingJob request to its DescribeTrainingJob answer."""

from __future__ import annotations

import contextlib
import re
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from container import contract
from container.errors import UserError
from local_test import identity
from local_test.data import channels, job_outputs, storage
from local_test.data.checkpoints import CheckpointSync
from local_test.data.pipes import Pipe
from local_test.jobs import job_directory, result
from local_test.jobs.fleet import Fleet, Outcome
from local_test.jobs.result import JobResult, Listeners, Metric
from local_test.requests.validation import ValidRequest
from local_test.runners.faults import JOB_KINDS, Fault, Trigger
from local_test.runners.interface import Launch, Runner
from local_test.runners.volume import Volume

_INTERRUPTED: Final = "Interrupted"
_INTERNAL_ERROR: Final = "InternalServerError"
_DEFAULT_RUNTIME_S: Final = 86400  # OUT-11


class TrainingJob:
    """One training job; `run` once, `stop` from any thread (StopTrainingJob)."""

    def __init__(  # noqa: PLR0913 - the last three are for faults and tests
        self,
        request: ValidRequest,
        runner: Runner,
        directory: Path,
        listeners: Listeners | None = None,
        *,
        faults: Sequence[Fault] = (),
        stop_grace_s: float = contract.TRAINING_STOP_GRACE_S,
        amend: Callable[[contract.Layout], None] | None = None,
    ) -> None:
        """`directory` is the job's own and must not exist; `amend` changes each host's tree before its start.

        Raises: UserError for a request that the service, or this machine, does not take, or if the
        name is taken.
        """
        self.request = request.fields
        self.name: str = self.request["TrainingJobName"]
        self.directory = directory
        self._runner = runner
        self._listeners = listeners or Listeners()
        self._stop_grace_s = stop_grace_s
        self._amend = amend or (lambda _: None)
        self._trigger = Trigger(faults, self._do_fault)
        self._volumes: dict[str, Volume] = {}
        self._definitions = [
            (item["Name"], re.compile(item["Regex"]))
            for item in self.request.get("AlgorithmSpecification", {}).get("MetricDefinitions", ())
        ]
        self._metrics: list[Metric] = []
        self._transitions: list[dict[str, Any]] = []
        self._findings: list[str] = []
        self._fleet: Fleet | None = None
        self._stop_requested = threading.Event()
        groups = job_directory.instance_groups(self.request)
        self._group_by_host = {host: group for group in groups for host in group["hosts"]}
        self.hosts = tuple(self._group_by_host)
        self._layouts = {
            host: contract.Layout(directory / "hosts" / host) for host in self._group_by_host
        }

    def stop(self) -> None:
        """Stop the job: SIGTERM, the grace, SIGKILL; what lies in the model directory is uploaded (OUT-7)."""
        self._stop_requested.set()
        if self._fleet is not None:
            self._fleet.stop("Stopped")

    def run(self) -> JobResult:
        """Run the job to its end; a failure of the container is a result, not an error."""
        times = {"Creation": time.time()}
        result.make_directory(self.directory)
        job_directory.write_documents(self.directory, {"request.json": self.request})
        outcome, failure = Outcome(), ""
        try:
            outcome = self._run_attempts(times)
        except UserError as error:
            failure = f"ClientError: {error}"
        times.setdefault("TrainingStart", time.time())
        times["TrainingEnd"] = time.time()
        status, secondary = _judge(outcome, failure)
        if not failure and outcome.stop_reason != _INTERNAL_ERROR:
            self._enter("Uploading", "Uploading generated training model")
            self._collect()
        if status == "Failed":
            self._findings.clear()  # what a failed job left out is no news
        if status == "Failed" and not failure:
            failure = self._explain_failure(outcome)
        self._enter(secondary, failure or f"Training job {status.lower()}")
        description = self._describe(status, failure, times)
        job_directory.write_documents(self.directory, {"description.json": description})
        return JobResult(
            description, self.directory, status, failure, self._findings, self._metrics, outcome
        )

    def _run_attempts(self, times: dict[str, float]) -> Outcome:
        """Run the containers, again after each interruption, with nothing kept but the checkpoints (SP-1)."""
        stopping = self.request.get("StoppingCondition", {})
        wait_limit_s = stopping.get("MaxWaitTimeInSeconds", float("inf"))
        retries = self.request.get("RetryStrategy", {}).get("MaximumRetryAttempts", 0)
        runtime_left_s = float(stopping.get("MaxRuntimeInSeconds", _DEFAULT_RUNTIME_S))
        self._enter("Starting", "Preparing the instances for training")
        while True:
            self._enter("Downloading", "Downloading input data")
            with contextlib.ExitStack() as resources:
                names_after_s = self._trigger.take("slow-dns") or 0.0
                launches = [
                    replace(self._prepare(host, resources), names_after_s=names_after_s)
                    for host in self._group_by_host
                ]
                time.sleep(self._trigger.take("slow-start") or 0.0)
                self._enter("Training", "Training image download completed. Training in progress.")
                started = time.time()
                times.setdefault("TrainingStart", started)
                outcome = self._run_containers(
                    launches, min(runtime_left_s, times["Creation"] + wait_limit_s - started)
                )
            runtime_left_s -= time.time() - started
            if outcome.stop_reason == "MaxRuntimeExceeded" and runtime_left_s > 0:
                outcome.stop_reason = "MaxWaitTimeExceeded"
            if outcome.stop_reason == _INTERRUPTED:
                self._enter(_INTERRUPTED, "The spot instances were taken back")
                self._enter("Starting", "Preparing the instances for training")
            elif outcome.stop_reason == _INTERNAL_ERROR and retries > 0:
                retries -= 1
                self._enter("Restarting", "Retrying after an internal error")
            else:
                return outcome
            shutil.rmtree(
                self.directory / "hosts"
            )  # the model directory is not restored, only checkpoints are (SP-1)

    def _prepare(self, host: str, resources: contextlib.ExitStack) -> Launch:
        root = self._layouts[host].base
        if self._trigger.expects("disk-full"):
            self._volumes[host] = Volume(root)
            resources.callback(self._volumes[host].close)
        group = self._group_by_host[host]
        is_isolated = self.request.get("EnableNetworkIsolation", False)
        interface = self._runner.network_interface(
            has_peers=len(self.hosts) > 1, is_isolated=is_isolated
        )
        layout = job_directory.make_training_tree(root, self.request, host, interface)
        read_only = []
        for channel in job_directory.channels_of(self.request, group):
            name = channel["ChannelName"]
            mode = channels.input_mode(self.request, channel)
            objects = channels.list_channel(channel)
            part = channels.share(objects, channel, group["hosts"].index(host), len(group["hosts"]))
            channels.write_manifest(objects, layout.input_data / f"{name}-manifest")
            if mode == "Pipe":
                resources.callback(Pipe(channel, part, layout).close)
                continue
            channels.deliver(part, layout.channel(name), is_linked=mode == "FastFile")
            if mode == "FastFile":
                read_only.append(str(layout.channel(name).relative_to(root)))
        self._restore_checkpoints(layout, resources)
        self._amend(layout)
        algorithm = self.request.get("AlgorithmSpecification", {})
        entrypoint = algorithm.get("ContainerEntrypoint")
        arguments = algorithm.get("ContainerArguments", [] if entrypoint else ["train"])  # IMG-3
        return Launch(
            name=host,
            arguments=tuple(arguments),
            entrypoint=tuple(entrypoint) if entrypoint else None,
            root=root,
            environment=job_directory.training_environment(self.request),
            read_only=tuple(read_only),
            peers=self.hosts,
            network=f"local-test-{self.name}" if len(self.hosts) > 1 else "",
            is_isolated=is_isolated,
        )

    def _restore_checkpoints(
        self, layout: contract.Layout, resources: contextlib.ExitStack
    ) -> None:
        """Fetch checkpoints, and keep storing them until the container has ended (CK-1, CK-2)."""
        if "CheckpointConfig" not in self.request:
            return
        config = self.request["CheckpointConfig"]
        place = config.get("LocalPath", "/opt/ml/checkpoints").removeprefix("/opt/ml/").rstrip("/")
        resources.callback(CheckpointSync(layout.base / place, config["S3Uri"]).close)

    def _run_containers(self, launches: list[Launch], limit_s: float) -> Outcome:
        def on_line(host: str, line: str) -> None:
            self._listeners.on_line(host, line)
            self._scrape(line)
            self._trigger.see(line)

        with result.log_files(
            self.directory / "logs", list(self._layouts), on_line
        ) as on_logged_line:
            self._fleet = Fleet(self._runner, launches, on_logged_line)
            if self._stop_requested.is_set():
                self._fleet.stop("Stopped")
            try:
                return self._fleet.run(
                    max_runtime_s=limit_s,
                    grace_s=self._stop_grace_s,
                    on_started=self._trigger.start_clock,
                )
            finally:
                self._trigger.stop_clock()

    def _do_fault(self, fault: Fault) -> None:
        fleet = self._fleet
        assert fleet is not None  # noqa: S101 - faults come after the containers' start
        host = fault.host or next(iter(self._layouts))
        self._listeners.on_status("Fault", f"{fault.kind} for {host}: {JOB_KINDS[fault.kind]}")
        if fault.kind == "spot":
            fleet.stop(_INTERRUPTED)
        elif fault.kind == "spot-kill":
            fleet.stop(_INTERRUPTED, grace_s=0)
        elif fault.kind == "stop":
            fleet.stop("Stopped")
        elif fault.kind == "internal-error":
            fleet.stop(_INTERNAL_ERROR, grace_s=0)
        elif fault.kind == "kill":
            fleet.kill(host)
        elif fault.kind == "out-of-memory":
            fleet.kill(host, "out of memory: the fault that was asked for")
        elif fault.kind == "disk-full":
            self._volumes[host].fill()
        elif fault.kind == "lost-peer":
            fleet.freeze(host)

    def _scrape(self, line: str) -> None:
        """Find every metric in a log line (HPO-1)."""
        for name, pattern in self._definitions:
            for match in pattern.finditer(line):
                try:
                    metric = Metric(
                        name,
                        float(match.group(1) if pattern.groups else match.group()),
                        time.time(),
                    )
                except ValueError:
                    continue
                self._metrics.append(metric)
                self._listeners.on_metric(metric)

    def _collect(self) -> None:
        """Upload `model.tar.gz` and, if there is any, `output.tar.gz` (OUT-3, OUT-4)."""
        self._upload({host: layout.model for host, layout in self._layouts.items()}, "model")
        data = {host: layout.output_data for host, layout in self._layouts.items()}
        if any(next(path.iterdir(), None) for path in data.values() if path.is_dir()):
            self._upload(data, "output")

    def _upload(self, roots: Mapping[str, Path], stem: str) -> None:
        if self.request["OutputDataConfig"].get("CompressionType") == "NONE":
            members, findings = job_outputs.merge(roots)
            for name, path in members.items():
                if path.is_file():
                    storage.store(path, self._output_uri(f"{stem}/{name}"))
            self._findings += findings
            return
        packed = self.directory / f"{stem}.tar.gz"
        self._findings += job_outputs.archive(roots, packed)
        storage.store(packed, self._output_uri(packed.name))
        packed.unlink()

    def _output_uri(self, name: str) -> str:
        prefix = self.request["OutputDataConfig"]["S3OutputPath"].rstrip("/")
        return f"{prefix}/{self.name}/output/{name}"

    def _explain_failure(self, outcome: Outcome) -> str:
        if outcome.stop_reason == _INTERNAL_ERROR:
            return "InternalServerError: We encountered an internal error. Please try again."
        host = outcome.failed_host or next(iter(self._layouts))
        reason = job_outputs.read_failure(self._layouts[host])
        return reason or job_outputs.explain_exit(
            outcome.exit_codes.get(host, 1), outcome.notes.get(host, "")
        )

    def _enter(self, status: str, message: str) -> None:
        now = result.format_time(time.time())
        if self._transitions:
            self._transitions[-1]["EndTime"] = now
        self._transitions.append({"Status": status, "StartTime": now, "StatusMessage": message})
        self._listeners.on_status(status, message)

    def _describe(self, status: str, failure: str, times: Mapping[str, float]) -> dict[str, Any]:
        self._transitions[-1]["EndTime"] = self._transitions[-1]["StartTime"]
        kept = {name: value for name, value in self.request.items() if name != "Tags"}
        last = {metric.name: metric for metric in self._metrics}
        duration_s = max(1, round(times["TrainingEnd"] - times["TrainingStart"]))
        is_loose = self.request["OutputDataConfig"].get("CompressionType") == "NONE"
        return {
            **kept,
            "TrainingJobArn": identity.arn("training-job", self.name),
            "ModelArtifacts": {
                "S3ModelArtifacts": self._output_uri("model/" if is_loose else "model.tar.gz")
            },
            "TrainingJobStatus": status,
            "SecondaryStatus": self._transitions[-1]["Status"],
            **({"FailureReason": failure[: contract.FAILURE_REASON_CHARACTERS]} if failure else {}),
            "StoppingCondition": self.request.get(
                "StoppingCondition", {"MaxRuntimeInSeconds": _DEFAULT_RUNTIME_S}
            ),
            **{f"{name}Time": result.format_time(seconds) for name, seconds in times.items()},
            "LastModifiedTime": result.format_time(time.time()),
            "SecondaryStatusTransitions": self._transitions,
            "FinalMetricDataList": [
                {
                    "MetricName": metric.name,
                    "Value": metric.value,
                    "Timestamp": result.format_time(metric.time_s),
                }
                for metric in last.values()
            ],
            "TrainingTimeInSeconds": duration_s,
            "BillableTimeInSeconds": duration_s,
        }


def _judge(outcome: Outcome, failure: str) -> tuple[str, str]:
    """Give status and secondary status of a job (OUT-1, OUT-10)."""
    if failure or outcome.stop_reason == _INTERNAL_ERROR:
        return "Failed", "Failed"
    if outcome.stop_reason:
        return "Stopped", outcome.stop_reason
    return ("Failed", "Failed") if outcome.failed_host else ("Completed", "Completed")
