"""The thread of an execution: it starts steps as they become ready, and follows their jobs.

All that an execution knows is in its record, and a step's job is named there before it is made, so
that the next local AWS continues where this one was killed.
"""

import sys
import time
import traceback
import uuid
from collections.abc import Mapping
from typing import Any, Final

from container.errors import PlatformError, UserError
from local_test.aws.account.account import Account
from local_test.aws.account.kinds import PIPELINE_EXECUTION
from local_test.aws.protocol.messages import AwsError
from local_test.aws.sagemaker.pipelines import caching, expressions, steps
from local_test.aws.sagemaker.pipelines import definition as definitions
from local_test.aws.sagemaker.pipelines.definition import Step
from local_test.aws.sagemaker.pipelines.values import Values
from local_test.data.disk import DiskError
from local_test.jobs.status import INTERNAL_ERROR_MESSAGE

State = dict[str, Any]
_LOOK_S: Final = 1.0  # between two looks; the ends of jobs wake the thread at once
_MOST_PARALLEL: Final = 50
_FAILED: Final = "Step failure: One or multiple steps failed."
_ENDED: Final = ("Succeeded", "Failed", "Stopped")


def start(account: Account, name: str) -> None:
    """Start the thread of an execution."""
    account.start_thread(f"pipeline {name}", lambda: run(account, name))


def recover(account: Account) -> None:
    """Continue the executions of the last local AWS."""
    for record in account.store.list(PIPELINE_EXECUTION):
        if record["PipelineExecutionStatus"] in ("Executing", "Stopping"):
            start(account, record["_name"])


def run(account: Account, name: str) -> None:
    """Run an execution to its end, or until the local AWS stops."""
    try:
        end = _Execution(account, name).run()
    except (AwsError, UserError, DiskError) as error:
        end = ("Failed", str(error))
    except Exception:  # noqa: BLE001 - a bug of ours ends the execution, not the server
        traceback.print_exc(file=sys.stderr)
        end = ("Failed", INTERNAL_ERROR_MESSAGE)
    if end is None:
        return

    def change(record: State) -> None:
        record["PipelineExecutionStatus"] = end[0]
        record["FailureReason"] = end[1][:1300] or None

    account.store.note(PIPELINE_EXECUTION, name, change)
    account.notify()


class _Execution:
    """One running execution."""

    def __init__(self, account: Account, name: str) -> None:
        self._account = account
        self._name = name
        record = self._read()
        self._definition = definitions.read(record["_definition"])
        self._values = Values(account, self._definition, record)

    def run(self) -> tuple[str, str] | None:
        """Run all steps; return status and reason, or None if the local AWS stops first."""
        while True:
            seen = self._account.change_count()
            self._follow(self._read()["_steps"])
            if self._account.is_closing.is_set():
                return None
            record = self._read()
            states = record["_steps"]
            running = [name for name, state in states.items() if state["StepStatus"] not in _ENDED]
            reason = self._find_failure(states)
            if record["PipelineExecutionStatus"] == "Stopping" or reason:
                end = ("Failed", reason) if reason else ("Stopped", "")
                has_begun = False
                if reason != _FAILED:
                    self._stop(running)
            else:
                end = ("Succeeded", "")
                has_begun = self._start_ready(record, running)
            if not running and not has_begun:
                return end
            if running:
                self._account.wait_for_change(seen, _LOOK_S)

    def _read(self) -> State:
        found: State | None = self._account.store.find(PIPELINE_EXECUTION, self._name)
        assert found is not None  # noqa: S101 - executions are not deleted while they run
        return found

    def _note(self, name: str, **changes: Any) -> None:
        """Change entries of a step's state to what has happened."""

        def change(record: State) -> None:
            record["_steps"][name] = {**record["_steps"].get(name, {}), **changes}

        self._account.store.note(PIPELINE_EXECUTION, self._name, change)

    def _end(self, name: str, status: str, reason: str = "", **changes: Any) -> None:
        if reason:
            changes["FailureReason"] = reason[:1024]
        self._note(name, StepStatus=status, EndTime=time.time(), **changes)

    def _follow(self, states: Mapping[str, State]) -> None:
        """Write down how steps have ended since the last look."""
        for name, state in states.items():
            if state["StepStatus"] in _ENDED:
                continue
            kind = self._definition.steps[name].kind
            if "Metadata" not in state:  # the local AWS was killed before its job began, or after
                self._begin(self._definition.steps[name], state["_job"], is_again=True)
                continue
            status, reason = steps.find_end(self._account, kind, state["_job"])
            if status == "Failed" and state["StepStatus"] == "Stopping":
                self._end(name, "Stopped")
            elif status:
                outputs = steps.show_outputs(self._account, kind, state)
                self._end(name, status, reason, **outputs)

    def _find_failure(self, states: Mapping[str, State]) -> str:
        """Return why the execution fails; empty if it does not."""
        failed = [name for name, state in states.items() if state["StepStatus"] == "Failed"]
        for name in failed:
            if self._definition.steps[name].kind == "Fail":
                return str(states[name].get("FailureReason") or _FAILED)
        return _FAILED if failed else ""

    def _stop(self, running: list[str]) -> None:
        for name in running:
            self._note(name, StepStatus="Stopping")
            job = self._read()["_steps"][name]["_job"]
            steps.stop(self._account, self._definition.steps[name].kind, job)

    def _start_ready(self, record: State, running: list[str]) -> bool:
        """Start the steps that wait for nothing; return whether there were any."""
        states = record["_steps"]
        ready = [
            step
            for step in self._definition.steps.values()
            if step.name not in states
            and step.name in record.get("_selected", self._definition.steps)
            and all(self._is_done(name, step, states) for name in step.needs)
            and self._is_chosen(step, states)
        ]
        limits = record.get("ParallelismConfiguration", {})
        most = limits.get("MaxParallelExecutionSteps", _MOST_PARALLEL)
        for step in ready[: max(0, most - len(running))]:
            self._start(step)
        return bool(ready)

    def _is_done(self, name: str, waiting: Step, states: Mapping[str, State]) -> bool:
        """Return whether a step that another waits for has succeeded, with its branch if any."""
        if states.get(name, {}).get("StepStatus") != "Succeeded":
            return False
        inside = self._definition.members(name)
        if waiting.name in inside:
            return True
        wanted = [item for item in inside if self._is_chosen(self._definition.steps[item], states)]
        return all(states.get(item, {}).get("StepStatus") == "Succeeded" for item in wanted)

    def _is_chosen(self, step: Step, states: Mapping[str, State]) -> bool:
        """Return whether the conditions around a step have chosen it."""
        if step.branch is None:
            return True
        condition, wanted = step.branch
        outcome = states.get(condition, {}).get("_outcome")
        return outcome is wanted and self._is_chosen(self._definition.steps[condition], states)

    def _start(self, step: Step) -> None:
        begun = {"StartTime": time.time(), "StepStatus": "Executing", "AttemptCount": 1}
        begun["_kind"] = step.kind
        if step.kind == "Condition":
            self._note(step.name, **begun)
            self._decide(step)
        elif step.kind == "Fail":
            self._note(step.name, **begun)
            message = self._values.evaluate(step.arguments.get("ErrorMessage", ""))
            metadata = {"Fail": {"ErrorMessage": str(message)}}
            self._end(step.name, "Failed", str(message), Metadata=metadata)
        else:
            job = self._make_name(step)
            self._note(step.name, **begun, _job=job)
            self._begin(step, job, is_again=False)

    def _make_name(self, step: Step) -> str:
        """Return the name of a step's resource; names of tuning jobs have at most 32 characters."""
        tail = f"{step.name[:24]}-{uuid.uuid4().hex[:10]}"
        if step.kind == "Tuning":
            tail = f"{step.name[:10]}-{uuid.uuid4().hex[:8]}"
            return f"{self._name}-{tail}".replace("_", "-").replace("--", "-")
        return f"pipelines-{self._name}-{tail}".replace("_", "-").replace("--", "-")

    def _decide(self, step: Step) -> None:
        try:
            outcome = all(
                expressions.holds(condition, self._values.evaluate)
                for condition in step.arguments["Conditions"]
            )
        except UserError as error:
            self._end(step.name, "Failed", f"ClientError: {error}")
            return
        metadata = {"Condition": {"Outcome": "True" if outcome else "False"}}
        self._end(step.name, "Succeeded", Metadata=metadata, _outcome=outcome)

    def _begin(self, step: Step, job: str, *, is_again: bool) -> None:
        """Ask for a step's resource, unless another execution did.

        `is_again` says that the last local AWS may have asked already.
        """
        account = self._account
        try:
            arguments = self._values.evaluate(step.arguments)
            key = caching.make_key(step.kind, arguments)
            if self._take_cached(step, key):
                return
            named = arguments.get(steps.DOINGS[step.kind].name, job)
            if step.kind in ("Endpoint", "EndpointConfig"):  # programs know their names
                job = named
                self._note(step.name, _job=job)
            if is_again and steps.exists(account, step.kind, job):
                doing = steps.DOINGS[step.kind]
                described = doing.describe(account, job)
                arn = next(value for name, value in described.items() if name.endswith("Arn"))
                metadata = {doing.metadata: {"Arn": arn}}
            else:
                metadata = steps.ask(account, step.kind, arguments, job)
        except (UserError, AwsError) as error:
            self._end(step.name, "Failed", f"ClientError: {error}")
        except PlatformError as error:
            self._end(step.name, "Failed", f"InternalServerError: {error}")
        else:
            self._note(step.name, Metadata=metadata, _key=key)

    def _take_cached(self, step: Step, key: str) -> bool:
        """Take the result of an equal step of another execution; return whether there is one."""
        config = step.body.get("CacheConfig", {})
        if not config.get("Enabled") or step.kind not in caching.CACHED:
            return False
        since = 0.0
        if "ExpireAfter" in config:
            since = time.time() - caching.read_duration(config["ExpireAfter"])
        found = caching.find(self._account, self._read(), step.name, key, since=since)
        if found is None:
            return False
        arn, state = found
        try:
            steps.describe(self._account, step.kind, state)
        except UserError:  # its job was deleted
            return False
        hit = {"SourcePipelineExecutionArn": arn}
        self._end(
            step.name,
            "Succeeded",
            Metadata=state["Metadata"],
            CacheHitResult=hit,
            _job=state["_job"],
            _key=key,
        )
        return True
