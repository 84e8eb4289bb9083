"""A training job from its CreateTrainingJob request to its DescribeTrainingJob answer."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from container import contract
from container.errors import UserError
from local_test import channels, collection, fields, job, storage, tree
from local_test.fleet import Fleet, Outcome
from local_test.job import JobResult, Listeners, Metric
from local_test.runner import Launch, Runner


class TrainingJob:
    """One training job; `run` once, `stop` from any thread (StopTrainingJob)."""

    def __init__(
        self,
        request: Mapping[str, Any],
        runner: Runner,
        directory: Path,
        listeners: Listeners | None = None,
        *,
        stop_grace_s: float = contract.TRAINING_STOP_GRACE_S,
    ) -> None:
        """`directory` is the job's own and must not exist.

        Raises: UserError for a request that the service, or this machine, does not take, or if the name is taken.
        """
        fields.check("CreateTrainingJob", request)
        self.request = request
        self.name: str = request["TrainingJobName"]
        self.directory = directory
        self._runner = runner
        self._listeners = listeners or Listeners()
        self._stop_grace_s = stop_grace_s
        self._definitions = [
            (item["Name"], re.compile(item["Regex"]))
            for item in request.get("AlgorithmSpecification", {}).get("MetricDefinitions", ())
        ]
        self._metrics: list[Metric] = []
        self._transitions: list[dict[str, Any]] = []
        self._findings: list[str] = []
        self._fleet: Fleet | None = None
        self._stop_requested = threading.Event()

    def stop(self) -> None:
        """Stop the job: SIGTERM, the grace, SIGKILL; what lies in the model directory is uploaded (OUT-7)."""
        self._stop_requested.set()
        if self._fleet is not None:
            self._fleet.stop("Stopped")

    def run(self) -> JobResult:
        """Run the job to its end; a failure of the container is a result, not an error."""
        created = time.time()
        self._enter("Starting", "Preparing the instances for training")
        job.make_directory(self.directory)
        logs = self.directory / "logs"
        tree.write_documents(self.directory, {"request.json": self.request})
        groups = tree.instance_groups(self.request)
        hosts = [host for group in groups for host in group["hosts"]]
        layouts = {host: contract.Layout(self.directory / "hosts" / host) for host in hosts}
        outcome, failure = Outcome(), ""
        try:
            self._enter("Downloading", "Downloading input data")
            launches = [self._prepare(host, group) for group in groups for host in group["hosts"]]
            self._enter("Training", "Training image download completed. Training in progress.")
            started = time.time()
            outcome = self._run_containers(launches, logs)
        except UserError as error:
            started = time.time()
            failure = f"ClientError: {error}"
        ended = time.time()
        if not failure:
            self._enter("Uploading", "Uploading generated training model")
            self._collect(layouts)
        status, secondary = self._judge(outcome, failure)
        if status == "Failed" and not failure:
            host = outcome.failed_host or hosts[0]
            reason = collection.read_failure(layouts[host])
            failure = reason or collection.explain_exit(outcome.exit_codes.get(host, 1))
        self._enter(secondary, failure or f"Training job {status.lower()}")
        description = self._describe(
            status, failure, {"Creation": created, "TrainingStart": started, "TrainingEnd": ended}
        )
        tree.write_documents(self.directory, {"description.json": description})
        return JobResult(description, self.directory, status, failure, self._findings, self._metrics, outcome)

    def _prepare(self, host: str, group: Mapping[str, Any]) -> Launch:
        root = self.directory / "hosts" / host
        layout = tree.make_training_tree(root, self.request, host)
        read_only = []
        members = group["hosts"]
        for channel in tree.channels_of(self.request, group):
            name = channel["ChannelName"]
            is_streamed = channels.input_mode(self.request, channel) == "FastFile"
            objects = channels.list_channel(channel)
            part = channels.share(objects, channel, members.index(host), len(members))
            channels.deliver(part, layout.channel(name), is_linked=is_streamed)
            channels.write_manifest(objects, layout.input_data / f"{name}-manifest")
            if is_streamed:
                read_only.append(str(layout.channel(name).relative_to(root)))
        algorithm = self.request.get("AlgorithmSpecification", {})
        entrypoint = algorithm.get("ContainerEntrypoint")
        arguments = algorithm.get("ContainerArguments", [] if entrypoint else ["train"])  # IMG-3
        return Launch(
            name=host,
            arguments=tuple(arguments),
            entrypoint=tuple(entrypoint) if entrypoint else None,
            root=root,
            environment=tree.training_environment(self.request),
            read_only=tuple(read_only),
            is_isolated=self.request.get("EnableNetworkIsolation", False),
        )

    def _run_containers(self, launches: list[Launch], logs: Path) -> Outcome:
        def on_line(host: str, line: str) -> None:
            self._listeners.on_line(host, line)
            self._scrape(line)

        with job.log_files(logs, [launch.name for launch in launches], on_line) as on_logged_line:
            self._fleet = Fleet(self._runner, launches, on_logged_line)
            if self._stop_requested.is_set():
                self._fleet.stop("Stopped")
            limit = self.request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", 86400)
            return self._fleet.run(max_runtime_s=limit, grace_s=self._stop_grace_s)

    def _scrape(self, line: str) -> None:
        """Find every metric in a log line (HPO-1)."""
        for name, pattern in self._definitions:
            for match in pattern.finditer(line):
                try:
                    metric = Metric(name, float(match.group(1) if pattern.groups else match.group()), time.time())
                except ValueError:
                    continue
                self._metrics.append(metric)
                self._listeners.on_metric(metric)

    def _collect(self, layouts: Mapping[str, contract.Layout]) -> None:
        """Upload `model.tar.gz` and, if there is any, `output.tar.gz` (OUT-3, OUT-4)."""
        self._findings += self._upload({host: layout.model for host, layout in layouts.items()}, "model.tar.gz")
        data = {host: layout.output_data for host, layout in layouts.items()}
        if any(next(path.iterdir(), None) for path in data.values() if path.is_dir()):
            self._findings += self._upload(data, "output.tar.gz")

    def _upload(self, roots: Mapping[str, Path], name: str) -> list[str]:
        packed = self.directory / name
        findings = collection.archive(roots, packed)
        storage.store(packed, self._output_uri(name))
        packed.unlink()
        return findings

    def _output_uri(self, name: str) -> str:
        prefix = self.request["OutputDataConfig"]["S3OutputPath"].rstrip("/")
        return f"{prefix}/{self.name}/output/{name}"

    def _judge(self, outcome: Outcome, failure: str) -> tuple[str, str]:
        if failure:
            return "Failed", "Failed"
        if outcome.stop_reason == "MaxRuntimeExceeded":
            return "Stopped", "MaxRuntimeExceeded"
        if outcome.stop_reason:
            return "Stopped", "Stopped"
        return ("Failed", "Failed") if outcome.failed_host else ("Completed", "Completed")

    def _enter(self, status: str, message: str) -> None:
        now = job.format_time(time.time())
        if self._transitions:
            self._transitions[-1]["EndTime"] = now
        self._transitions.append({"Status": status, "StartTime": now, "StatusMessage": message})
        self._listeners.on_status(status, message)

    def _describe(self, status: str, failure: str, times: Mapping[str, float]) -> dict[str, Any]:
        self._transitions[-1]["EndTime"] = self._transitions[-1]["StartTime"]
        kept = {name: value for name, value in self.request.items() if name != "Tags"}
        last = {metric.name: metric for metric in self._metrics}
        duration_s = max(1, round(times["TrainingEnd"] - times["TrainingStart"]))
        return {
            **kept,
            "TrainingJobArn": tree.arn("training-job", self.name),
            "ModelArtifacts": {"S3ModelArtifacts": self._output_uri("model.tar.gz")},
            "TrainingJobStatus": status,
            "SecondaryStatus": self._transitions[-1]["Status"],
            **({"FailureReason": failure[: contract.FAILURE_REASON_CHARACTERS]} if failure else {}),
            "StoppingCondition": self.request.get("StoppingCondition", {"MaxRuntimeInSeconds": 86400}),
            **{f"{name}Time": job.format_time(seconds) for name, seconds in times.items()},
            "LastModifiedTime": job.format_time(time.time()),
            "SecondaryStatusTransitions": self._transitions,
            "FinalMetricDataList": [
                {"MetricName": metric.name, "Value": metric.value, "Timestamp": job.format_time(metric.time_s)}
                for metric in last.values()
            ],
            "TrainingTimeInSeconds": duration_s,
            "BillableTimeInSeconds": duration_s,
        }
