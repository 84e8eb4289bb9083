"""A batch transform job, from CreateTransformJob to DescribeTransformJob (BT-1 to BT-14).

Each object is split, filtered, packed, sent, joined and assembled in order. Several requests are
under way at once, also of one object. `transform_records` is the pure part.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from container.errors import UserError
from local_test.data import channels
from local_test.jobs import result
from local_test.jobs.fleet import Outcome
from local_test.jobs.job import Job, count_hosts
from local_test.jobs.result import Listeners
from local_test.jobs.transform_instance import Instance, SharedState
from local_test.requests import model_containers
from local_test.requests.validation import ValidRequest
from local_test.runners.interface import Runner


class TransformJob(Job):
    """One transform job; after `stop` nothing more is stored (BT-13)."""

    kind = "Transform"

    def __init__(
        self,
        request: ValidRequest,
        model: ValidRequest,
        runner: Runner,
        directory: Path,
        listeners: Listeners | None = None,
    ) -> None:
        """Prepare a job; `model` is the CreateModel request of the model that it names.

        Raises: UserError if a transform job cannot invoke such a model.
        """
        fault = model_containers.find_transform_fault(model.fields)
        if fault:
            raise UserError(fault)
        super().__init__(request, runner, directory, listeners)
        self._shared = SharedState(
            *(self.request, model.fields, runner, directory, self._stop_requested),
            findings=self._findings,
        )
        self._instances: list[Instance] = []

    def stop(self) -> None:
        """Stop the job and its servers, whatever a request waits for."""
        super().stop()
        for instance in self._instances:
            threading.Thread(target=instance.stop, name="transform stop").start()

    def _name_hosts(self) -> tuple[str, ...]:
        return count_hosts(self.request["TransformResources"]["InstanceCount"])

    def _list_containers(self) -> list[str]:
        """Return the names of the log files of several containers; one has that of its host."""
        containers = model_containers.list_containers(self._shared.model)
        return [f"{host}.{item.name}" for host in self.hosts for item in containers if item.name]

    def _execute(self) -> Outcome:
        self._times_s["TransformStart"] = self._times_s["Creation"]
        objects = channels.list_channel(self.request["TransformInput"])
        logs = self.directory / "logs"
        hosts = [*self.hosts, *self._list_containers()]
        with result.log_files(logs, hosts, self._listeners.on_line) as on_line:
            with ThreadPoolExecutor(len(self.hosts), thread_name_prefix="transform") as pool:
                ends = []
                for index, host in enumerate(self.hosts):
                    part = objects[index :: len(self.hosts)]  # one is never divided (BT-13)
                    instance = Instance(self._shared, host, part, on_line)
                    self._instances.append(instance)
                    ends.append(pool.submit(instance.run))
            for end in ends:
                end.result()
        if self._stop_requested.is_set():
            return Outcome(stop_reason="Stopped")
        if self._shared.failures:
            raise UserError("; ".join(self._shared.failures[:5]))
        return Outcome()

    def _describe(self) -> dict[str, Any]:
        return {}
