"""A pipeline definition: its parameters, its steps, and what each step waits for."""

import graphlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from container.errors import UserError
from local_test.aws.sagemaker.pipelines import caching, expressions, structure

CREATORS: Final[Mapping[str, str]] = {
    "Training": "CreateTrainingJob",
    "Processing": "CreateProcessingJob",
    "Transform": "CreateTransformJob",
    "Tuning": "CreateHyperParameterTuningJob",
    "Model": "CreateModel",
    "RegisterModel": "CreateModelPackage",
    "EndpointConfig": "CreateEndpointConfig",
    "Endpoint": "CreateEndpoint",
}
"""The operation that a step of each type asks for."""
TYPES: Final = (*CREATORS, "Lambda", "Condition", "Fail")
_CONVERSIONS: Final = {"String": str, "Integer": int, "Float": float, "Boolean": bool}
_BOOLEANS: Final = {"true": True, "false": False}
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,62}[A-Za-z0-9])?")
_STEP: Final = re.compile(r"Steps\.([A-Za-z0-9_-]+)")


@dataclass(frozen=True)
class Step:
    """One step, wherever in the definition it is."""

    name: str
    kind: str
    body: Mapping[str, Any]
    """As in the definition."""
    needs: frozenset[str]
    """Steps that must have succeeded; a condition also stands for the branch that it chose."""
    branch: tuple[str, bool] | None
    """The condition step that contains it, and whether it is in its IfSteps."""

    @property
    def arguments(self) -> Mapping[str, Any]:
        """What it asks for."""
        found: Mapping[str, Any] = self.body.get("Arguments", {})
        if self.kind != "Lambda":
            return found
        named = {key: self.body.get(key, []) for key in ("FunctionArn", "OutputParameters")}
        return {**named, "Payload": found}


@dataclass(frozen=True)
class Definition:
    """A definition that can be executed."""

    parameters: tuple[Mapping[str, Any], ...]
    steps: Mapping[str, Step]

    def members(self, condition: str) -> list[str]:
        """Return the steps in both branches of a condition step, those inside others included."""
        inside = [
            step.name
            for step in self.steps.values()
            if step.branch is not None and step.branch[0] == condition
        ]
        return [name for item in inside for name in (item, *self.members(item))]

    def bind(self, given: Mapping[str, str]) -> dict[str, Any]:
        """Return the value of every parameter of an execution.

        Raises: UserError for unknown, missing and wrong values.
        """
        known = {parameter["Name"]: parameter for parameter in self.parameters}
        faults = [
            f"unknown parameter {name!r}; choose one of {', '.join(known) or 'none'}"
            for name in given
            if name not in known
        ]
        values = {}
        for name, parameter in known.items():
            value = given.get(name, parameter.get("DefaultValue"))
            if value is None:
                faults.append(f"the parameter {name!r} has no default value; give it one")
                continue
            try:
                values[name] = convert(parameter["Type"], value)
            except ValueError:
                faults.append(f"the parameter {name!r} is {parameter['Type']}; found {value!r}")
                continue
            choices = parameter.get("EnumValues")
            if choices and values[name] not in choices:
                faults.append(f"the parameter {name!r} must be one of {choices}; found {value!r}")
        if faults:
            raise UserError.from_faults("the parameters are refused", faults)
        return values


def convert(kind: str, value: Any) -> Any:
    """Return a value as the type of a parameter, or of an output of a function.

    Raises: ValueError, TypeError.
    """
    if kind == "Boolean" and isinstance(value, str):
        if value.lower() not in _BOOLEANS:
            raise ValueError(value)
        return _BOOLEANS[value.lower()]
    return _CONVERSIONS[kind](value)


def read(text: str) -> Definition:
    """Read a definition. Raises: UserError that lists everything that is wrong, or not emulated."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"the pipeline definition is not JSON: {error}") from error
    faults = structure.find_faults(document)
    if faults:
        raise UserError.from_faults("the pipeline definition is refused", faults)
    parameters = document.get("Parameters", [])
    faults = [
        f"the parameter {parameter['Name']!r} has the type {parameter['Type']!r}; choose one of "
        f"{', '.join(_CONVERSIONS)}"
        for parameter in parameters
        if parameter["Type"] not in _CONVERSIONS
    ]
    steps: dict[str, Step] = {}
    for step in _walk(document["Steps"], None):
        if step.name in steps:
            faults.append(f"two steps are named {step.name!r}")
        steps[step.name] = step
        faults += _check(step)
    definition = Definition(tuple(parameters), steps)
    faults += _check_references(definition)
    if faults:
        raise UserError.from_faults("the pipeline definition is refused", faults)
    return definition


def _walk(bodies: Any, branch: tuple[str, bool] | None) -> Iterator[Step]:
    for body in bodies:
        name = str(body.get("Name", ""))
        arguments = body.get("Arguments", {})
        is_condition = body.get("Type") == "Condition"
        own = {**body, "Arguments": arguments.get("Conditions", [])} if is_condition else body
        references = [_STEP.match(item) for item in expressions.list_references(own)]
        needs = {match[1] for match in references if match} | set(body.get("DependsOn", []))
        if branch is not None:
            needs.add(branch[0])
        yield Step(name, str(body.get("Type", "")), body, frozenset(needs), branch)
        if is_condition:
            yield from _walk(arguments.get("IfSteps", []), (name, True))
            yield from _walk(arguments.get("ElseSteps", []), (name, False))


def _check(step: Step) -> list[str]:
    faults = []
    if not _NAME.fullmatch(step.name):
        faults.append(f"{step.name!r} cannot name a step: use letters, digits and hyphens")
    if step.kind not in TYPES:
        faults.append(
            f"step {step.name!r} has the type {step.kind!r}, which is not emulated; choose one of "
            f"{', '.join(TYPES)}"
        )
    faults += [
        f"the output {output['OutputName']!r} of step {step.name!r} has the type "
        f"{output['OutputType']!r}; choose one of {', '.join(_CONVERSIONS)}"
        for output in step.body.get("OutputParameters", [])
        if output["OutputType"] not in _CONVERSIONS
    ]
    if step.body.get("RetryPolicies"):
        faults.append(
            f"step {step.name!r} has RetryPolicies, which are not emulated: leave them out, or "
            "give a training job a RetryStrategy"
        )
    if "ExpireAfter" in step.body.get("CacheConfig", {}):
        faults += _check_duration(step)
    if step.kind == "Condition":
        faults += [
            f"step {step.name!r} has a condition of an unknown type {kind!r}"
            for kind in _list_types(step.arguments.get("Conditions", []))
            if kind not in (*expressions.COMPARISONS, "In", "Not", "Or")
        ]
    return faults


def _check_duration(step: Step) -> list[str]:
    try:
        caching.read_duration(step.body["CacheConfig"]["ExpireAfter"])
    except UserError as error:
        return [f"step {step.name!r}: {error}"]
    return []


def _list_types(conditions: Any) -> Iterator[Any]:
    for condition in conditions:
        yield condition.get("Type")
        yield from _list_types(condition.get("Conditions", []))
        if "Condition" in condition:
            yield from _list_types([condition["Condition"]])


def _check_references(definition: Definition) -> list[str]:
    names = {parameter["Name"] for parameter in definition.parameters}
    faults = []
    for step in definition.steps.values():
        faults += [
            f"step {step.name!r} refers to the step {name!r}, which does not exist"
            for name in sorted(step.needs - definition.steps.keys())
        ]
        own = step.body if step.kind != "Condition" else step.arguments.get("Conditions", [])
        wanted = {
            item.removeprefix("Parameters.")
            for item in expressions.list_references(own)
            if item.startswith("Parameters.")
        }
        faults += [
            f"step {step.name!r} refers to the parameter {name!r}, which does not exist"
            for name in sorted(wanted - names)
        ]
    try:
        graph = {step.name: step.needs for step in definition.steps.values()}
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        faults.append(f"the steps wait for each other: {' -> '.join(error.args[1])}")
    return faults
