"""A training job, from its CreateTrainingJob request to its DescribeTrainingJob answer."""

import contextlib
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from container import contract
from local_test import container_files
from local_test.data import channels, job_outputs, storage
from local_test.data.checkpoints import CheckpointSync
from local_test.data.pipes import Pipe
from local_test.jobs import job_directory, result, status
from local_test.jobs.fleet import Outcome
from local_test.jobs.job import DEFAULT_RUNTIME_S, Job
from local_test.jobs.result import Listeners, compile_definitions, find_metrics
from local_test.jobs.status import Transition
from local_test.requests.validation import ValidRequest
from local_test.runners.faults import JOB_KINDS, Fault, Trigger
from local_test.runners.interface import Launch, Runner
from local_test.runners.volume import Volume


class TrainingJob(Job):
    """One training job; `stop` also uploads what is in the model directory (OUT-7)."""

    kind = "Training"

    def __init__(  # noqa: PLR0913 - a job's parts, its faults, and the grace period for tests
        self,
        request: ValidRequest,
        runner: Runner,
        directory: Path,
        listeners: Listeners | None = None,
        *,
        faults: Sequence[Fault] = (),
        stop_grace_s: float = contract.TRAINING_STOP_GRACE_S,
    ) -> None:
        """Prepare a job; `directory` is its own and must not exist yet."""
        self._groups = job_directory.instance_groups(request.fields)
        super().__init__(request, runner, directory, listeners, stop_grace_s)
        self._trigger = Trigger(faults, self._do_fault, self._findings.append)
        self._volumes: dict[str, Volume] = {}
        self._definitions = compile_definitions(request.fields)
        self._history: list[Transition] = []
        self._layouts = {host: contract.Layout(self._root(host)) for host in self.hosts}

    def _name_hosts(self) -> tuple[str, ...]:
        return tuple(host for group in self._groups for host in group["hosts"])

    def _begin(self) -> None:
        self._enter("Starting")

    def _execute(self) -> Outcome:
        outcome = self._run_attempts()
        self._times_s["TrainingEnd"] = time.time()
        if outcome.stop_reason != status.INTERNAL_ERROR:
            self._enter("Uploading")
            self._collect()
        if outcome.failed_host and not outcome.stop_reason:
            self._findings.clear()  # a failed job is expected to leave things out
        return outcome

    def _run_attempts(self) -> Outcome:
        """Run the containers, again after each interruption; only checkpoints are kept (SP-1)."""
        stopping = self.request.get("StoppingCondition", {})
        retries = self.request.get("RetryStrategy", {}).get("MaximumRetryAttempts", 0)
        runtime_left_s = float(stopping.get("MaxRuntimeInSeconds", DEFAULT_RUNTIME_S))
        while True:
            runtime_s, outcome = self._attempt(runtime_left_s)
            runtime_left_s -= runtime_s
            if outcome.stop_reason == "MaxRuntimeExceeded" and runtime_left_s > 0:
                outcome.stop_reason = "MaxWaitTimeExceeded"
            if outcome.stop_reason == status.INTERRUPTED:
                self._enter(status.INTERRUPTED)
                self._enter("Starting")
            elif outcome.stop_reason == status.INTERNAL_ERROR and retries > 0:
                retries -= 1
                self._enter("Restarting")
            else:
                return outcome
            container_files.remove_tree(self.directory / "hosts")

    def _attempt(self, runtime_left_s: float) -> tuple[float, Outcome]:
        """Run the containers once; return how long they ran, and how they ended."""
        wait_limit_s = self.request.get("StoppingCondition", {}).get("MaxWaitTimeInSeconds")
        self._enter("Downloading")
        with contextlib.ExitStack() as resources:
            names_after_s = self._trigger.take("slow-dns") or 0.0
            launches = [
                replace(self._prepare(group, host, resources), names_after_s=names_after_s)
                for group in self._groups
                for host in group["hosts"]
            ]
            time.sleep(self._trigger.take("slow-start") or 0.0)
            self._enter("Training")
            started_s = time.time()
            self._times_s.setdefault("TrainingStart", started_s)
            limit_s = runtime_left_s
            if wait_limit_s is not None:
                limit_s = min(limit_s, self._times_s["Creation"] + wait_limit_s - started_s)
            try:
                outcome = self._run_containers(
                    launches,
                    self._see_line,
                    max_runtime_s=limit_s,
                    stop_signal=signal.SIGTERM,
                    on_started=self._trigger.start_clock,
                )
            finally:
                self._trigger.stop_clock()
        return time.time() - started_s, outcome

    def _prepare(
        self, group: Mapping[str, Any], host: str, resources: contextlib.ExitStack
    ) -> Launch:
        root = self._layouts[host].base
        if self._trigger.expects("disk-full"):
            self._volumes[host] = Volume(root)
            resources.callback(self._volumes[host].close)
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
                resources.callback(Pipe(channel, part, layout.channel(name)).close)
                continue
            # Links are the user's own files; only a private view keeps a program from writing them.
            is_linked = mode == "FastFile" and self._runner.mount_point(root) == "/opt/ml"
            channels.deliver(part, layout.channel(name), is_linked=is_linked)
            if mode == "FastFile":
                read_only.append(str(layout.channel(name).relative_to(root)))
        self._restore_checkpoints(layout, resources)
        self._listeners.on_prepared(layout)
        program = self.request["AlgorithmSpecification"]
        if not program.get("ContainerEntrypoint"):
            program = {"ContainerArguments": ["train"], **program}  # IMG-3
        environment = job_directory.training_environment(self.request)
        launch = self._make_launch(host, program, environment, is_isolated=is_isolated)
        return replace(launch, read_only=tuple(read_only), instance_type=group["instance_type"])

    def _restore_checkpoints(
        self, layout: contract.Layout, resources: contextlib.ExitStack
    ) -> None:
        """Fetch checkpoints, and keep storing them until the container has ended (CK-1, CK-2)."""
        if "CheckpointConfig" not in self.request:
            return
        config = self.request["CheckpointConfig"]
        place = config.get("LocalPath", "/opt/ml/checkpoints").removeprefix("/opt/ml/").rstrip("/")
        sync = CheckpointSync(layout.base / place, config["S3Uri"], layout.base)
        resources.callback(lambda: self._findings.extend(sync.close()))

    def _see_line(self, host: str, line: str) -> None:
        self._listeners.on_line(host, line)
        self._scrape(line)
        self._trigger.see(line)

    def _do_fault(self, fault: Fault) -> None:
        fleet = self._fleet
        assert fleet is not None  # noqa: S101 - faults come after the containers' start
        host = fault.host or next(iter(self._layouts))
        self._listeners.on_status("Fault", f"{fault.kind} for {host}: {JOB_KINDS[fault.kind]}")
        if fault.kind == "spot":
            fleet.stop(status.INTERRUPTED)
        elif fault.kind == "spot-kill":
            fleet.stop(status.INTERRUPTED, grace_s=0)
        elif fault.kind == "stop":
            fleet.stop("Stopped")
        elif fault.kind == "internal-error":
            fleet.stop(status.INTERNAL_ERROR, grace_s=0)
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
        for metric in find_metrics(line, self._definitions, self._findings.append):
            self._metrics.append(metric)
            self._listeners.on_metric(metric)

    def _collect(self) -> None:
        """Upload `model.tar.gz` and, if there is any, `output.tar.gz` (OUT-3, OUT-4)."""
        self._upload({host: layout.model for host, layout in self._layouts.items()}, "model")
        data = {host: layout.output_data for host, layout in self._layouts.items()}
        below = self.directory / "hosts"
        if any(any(job_outputs.list_files(path, below)) for path in data.values()):
            self._upload(data, "output")

    def _upload(self, roots: Mapping[str, Path], stem: str) -> None:
        below = self.directory / "hosts"
        if self._is_loose():
            members, findings = job_outputs.merge(roots, below)
            for name, entry in members.items():
                if entry.is_file:
                    with entry.open() as file:
                        storage.store_file(file, self._output_uri(f"{stem}/{name}"))
            self._findings += findings
            return
        packed = self.directory / f"{stem}.tar.gz"
        self._findings += job_outputs.archive(roots, packed, below)
        storage.store(packed, self._output_uri(packed.name))
        packed.unlink()

    def _is_loose(self) -> bool:
        """Return whether files are uploaded as they are, not in an archive (OUT-3)."""
        return bool(self.request["OutputDataConfig"].get("CompressionType") == "NONE")

    def _output_uri(self, name: str) -> str:
        prefix = self.request["OutputDataConfig"]["S3OutputPath"].rstrip("/")
        return f"{prefix}/{self.name}/output/{name}"

    def _explain(self, outcome: Outcome) -> str:
        if outcome.stop_reason == status.INTERNAL_ERROR:
            return status.INTERNAL_ERROR_MESSAGE
        host = outcome.failed_host or self.hosts[0]
        failure = job_outputs.read_failure(self._layouts[host], self._findings)
        return failure or super()._explain(outcome)

    def _enter(self, secondary: str, message: str = "") -> None:
        self._history = status.enter(self._history, secondary, time.time(), message)
        self._listeners.on_status(secondary, self._history[-1]["StatusMessage"])

    def _end(self, primary: str, secondary: str, failure: str) -> None:
        del primary  # the secondary status says more
        self._enter(secondary, failure)

    def _describe(self) -> dict[str, Any]:
        last = {metric.name: metric for metric in self._metrics}
        duration_s = max(1, round(self._times_s["TrainingEnd"] - self._times_s["TrainingStart"]))
        artifacts = "model/" if self._is_loose() else "model.tar.gz"
        return {
            "ModelArtifacts": {"S3ModelArtifacts": self._output_uri(artifacts)},
            "SecondaryStatus": self._history[-1]["Status"],
            "StoppingCondition": self.request.get(
                "StoppingCondition", {"MaxRuntimeInSeconds": DEFAULT_RUNTIME_S}
            ),
            "LastModifiedTime": result.format_time(time.time()),
            "SecondaryStatusTransitions": [
                {
                    **transition,
                    "StartTime": result.format_time(transition["StartTime"]),
                    "EndTime": result.format_time(transition["EndTime"]),
                }
                for transition in self._history
            ],
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
