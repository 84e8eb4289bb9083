"""The values that a running execution's expressions stand for."""

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

from container.errors import UserError
from local_test.aws.account.account import Account
from local_test.aws.account.kinds import PIPELINE_EXECUTION
from local_test.aws.sagemaker.pipelines import expressions, steps
from local_test.aws.sagemaker.pipelines.definition import Definition

_EXPERIMENT: Final = {"ExperimentName": "PipelineName", "TrialName": "PipelineExecutionId"}
"""What a pipeline's experiment is called by default, as the SDK sets it."""


class Values:
    """Looks up parameters, execution variables and the properties of steps."""

    def __init__(self, account: Account, definition: Definition, record: Mapping[str, Any]) -> None:
        """`record` is the execution's."""
        self._account = account
        self._definition = definition
        self._name = record["_name"]
        self._parameters = record["_parameters"]
        started = dt.datetime.fromtimestamp(record["CreationTime"], dt.UTC)
        self._execution = {
            "PipelineName": record["PipelineName"],
            "PipelineArn": record["PipelineArn"],
            "PipelineExecutionId": record["_name"],
            "PipelineExecutionArn": record["PipelineExecutionArn"],
            "StartDateTime": started.isoformat(),
        }

    def evaluate(self, value: Any) -> Any:
        """Return a part of the definition with its values.

        Raises: UserError for what does not exist.
        """
        return expressions.evaluate(value, self._look_up, self._read_json)

    def _look_up(self, reference: str) -> Any:
        scope, _, rest = reference.partition(".")
        if scope == "Parameters":
            return self._parameters[rest]
        if scope == "Execution" and rest == "CurrentDateTime":
            return dt.datetime.now(dt.UTC).isoformat()
        if scope == "Execution" and rest in self._execution:
            return self._execution[rest]
        if scope == "PipelineExperimentConfig" and rest in _EXPERIMENT:
            return self._execution[_EXPERIMENT[rest]]
        if scope == "Steps":
            name, path = _split(rest)
            return expressions.follow(self._describe(name), path, f"step {name!r}")
        raise UserError(f"{reference!r} cannot be looked up in an execution")

    def _describe(self, name: str) -> Mapping[str, Any]:
        record: Any = self._account.store.find(PIPELINE_EXECUTION, self._name)
        state = record["_steps"].get(name, {})
        step = self._definition.steps[name]
        if state.get("StepStatus") != "Succeeded":
            raise UserError(f"step {name!r} has not succeeded, so that it has no properties")
        if step.kind not in steps.DOINGS:
            return {"Outcome": state.get("_outcome")}
        return steps.describe(self._account, step.kind, state)

    def _read_json(self, argument: Mapping[str, Any]) -> Any:
        if "S3Uri" in argument:
            uri = str(self.evaluate(argument["S3Uri"]))
            if not uri.startswith("s3://"):  # our files are not the pipeline's to name
                raise UserError(f"JsonGet reads s3:// URIs; found {uri!r}")
            return steps.read_document(uri)
        reference = argument["PropertyFile"]["Get"].removeprefix("Steps.")
        name, path = _split(reference)
        file = path.removeprefix(".PropertyFiles.")
        body = self._definition.steps[name].body
        return steps.read_property_file(self._describe(name), body, file)


def _split(reference: str) -> tuple[str, str]:
    """Return the name of a step and the path in it, of `Train.ModelArtifacts...`."""
    end = min(
        (index for index in (reference.find("."), reference.find("[")) if index >= 0),
        default=len(reference),
    )
    return reference[:end], reference[end:]
