"""A processing job, from CreateProcessingJob to DescribeProcessingJob (PR-1 to PR-5)."""

import contextlib
import signal
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from container import contract
from container.errors import UserError
from local_test import identity
from local_test.data import channels, job_outputs, storage
from local_test.data.checkpoints import CheckpointSync
from local_test.data.pipes import Pipe
from local_test.jobs import job_directory, result
from local_test.jobs.fleet import Outcome
from local_test.jobs.job import DEFAULT_RUNTIME_S, Job, count_hosts
from local_test.runners.interface import Launch


class ProcessingJob(Job):
    """One processing job; `stop` sends SIGINT (PR-4)."""

    kind = "Processing"
    _exit_message = ""

    def _name_hosts(self) -> tuple[str, ...]:
        return count_hosts(self.request["ProcessingResources"]["ClusterConfig"]["InstanceCount"])

    def _execute(self) -> Outcome:
        stopping = self.request.get("StoppingCondition", {})
        with contextlib.ExitStack() as resources:
            launches = [self._prepare(host, resources) for host in self.hosts]
            self._times_s["ProcessingStart"] = time.time()
            outcome = self._run_containers(
                launches,
                self._listeners.on_line,
                max_runtime_s=stopping.get("MaxRuntimeInSeconds", DEFAULT_RUNTIME_S),
                stop_signal=signal.SIGINT,
            )
        self._upload_outputs()
        self._exit_message = self._read_exit_message()
        return outcome

    def _describe(self) -> dict[str, Any]:
        facts: dict[str, Any] = {"LastModifiedTime": result.format_time(time.time())}
        if self._exit_message:
            facts["ExitMessage"] = self._exit_message
        return facts

    def _prepare(self, host: str, resources: contextlib.ExitStack) -> Launch:
        root = self._root(host)
        job_directory.write_documents(
            root / "config", job_directory.processing_documents(self.request, host, self.hosts)
        )
        (root / "output").mkdir(exist_ok=True)
        for item in self.request.get("ProcessingInputs", ()):
            source = item["S3Input"]
            objects = channels.list_source(source)
            if source.get("S3DataDistributionType") == "ShardedByS3Key":
                objects = objects[self.hosts.index(host) :: len(self.hosts)]
            place = self._local(host, source)
            if source.get("S3InputMode") == "Pipe":
                compression = source.get("S3CompressionType")
                channel = {"DataSource": {"S3DataSource": source}, "CompressionType": compression}
                resources.callback(Pipe(channel, objects, place).close)
            else:
                channels.deliver(objects, place)
        for output in self._outputs():
            place = self._local(host, output["S3Output"])
            place.mkdir(parents=True, exist_ok=True)
            if output["S3Output"].get("S3UploadMode") == "Continuous":
                uri = output["S3Output"]["S3Uri"]
                sync = CheckpointSync(place, uri, root, is_mirror=False)
                resources.callback(sync.close)  # all is stored once more, with findings
        is_isolated = self.request.get("NetworkConfig", {}).get("EnableNetworkIsolation", False)
        environment = identity.environment({}, is_isolated=is_isolated)
        launch = self._make_launch(
            host,
            self.request["AppSpecification"],
            environment | self.request.get("Environment", {}),
            is_isolated=is_isolated,
        )
        cluster = self.request["ProcessingResources"]["ClusterConfig"]
        return replace(launch, instance_type=cluster.get("InstanceType", ""))

    def _local(self, host: str, place: Mapping[str, Any]) -> Path:
        """Return where a host's container finds or leaves the files of an input or output."""
        local_path: str = place["LocalPath"]
        return self._root(host) / local_path.removeprefix("/opt/ml/")

    def _outputs(self) -> list[dict[str, Any]]:
        outputs = self.request.get("ProcessingOutputConfig", {}).get("Outputs", [])
        return [output for output in outputs if "S3Output" in output]

    def _upload_outputs(self) -> None:
        """Store every output directory's files under its URI; links are not followed (PR-2)."""
        writers: dict[str, str] = {}
        for output in self._outputs():
            place = output["S3Output"]
            stored = 0
            for host in self.hosts:
                directory = self._local(host, place)
                members, faults = job_outputs.list_files(directory, below=self._root(host))
                self._findings += faults
                for entry in members:
                    if not entry.is_file:
                        continue
                    uri = f"{place['S3Uri'].rstrip('/')}/{entry.name}"
                    writer = f"{host}, {output['OutputName']}"
                    if writers.setdefault(uri, writer) != writer:
                        self._findings.append(
                            f"{uri} was written by {writers[uri]} and by {writer}: only one is kept"
                        )
                    with entry.open() as file:
                        storage.store_file(file, uri)
                    stored += 1
            if not stored:
                self._findings.append(
                    f"output {output['OutputName']!r} is empty: "
                    f"{place['LocalPath']} contains no files (PR-2)"
                )

    def _read_exit_message(self) -> str:
        """Return the start of all containers' message files, each on lines of its own (PR-3)."""
        messages = [
            job_outputs.read_message(contract.Layout(self._root(host)), self._findings)
            for host in self.hosts
        ]
        text = b"\n".join(filter(None, messages))
        try:
            # A character that the limit cuts in half is dropped.
            errors = "strict" if len(text) <= contract.EXIT_MESSAGE_BYTES else "ignore"
            return text[: contract.EXIT_MESSAGE_BYTES].decode("utf-8", errors)
        except UnicodeDecodeError as error:
            raise UserError(f"output/message is not UTF-8: {error} (PR-3)") from error
