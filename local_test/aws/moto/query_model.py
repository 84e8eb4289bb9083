"""Requests of the query protocol (IAM, STS, CloudWatch) checked by botocore's model.

moto fails on actions that it does not know, and on parameters that are missing.
"""

from collections.abc import Collection
from typing import Final

from local_test.aws.protocol.messages import AwsError
from local_test.requests import shapes

MODELS: Final = {"iam": "iam", "sts": "sts", "monitoring": "cloudwatch"}
"""botocore's name of each service, by its name in signatures."""


def check(service: str, action: str, names: Collection[str]) -> None:
    """Check the action of a request, and that the parameters that it needs are there.

    Raises: AwsError InvalidAction, ValidationError.
    """
    model = shapes.service_model(MODELS[service])
    if action not in model.operation_names:
        raise AwsError("InvalidAction", f"{service} has no action {action[:100]!r}")
    shape = model.operation_model(action).input_shape
    missing = []
    for member in shape.required_members if shape else ():
        name = shape.members[member].serialization.get("name", member)
        if not any(found == name or found.startswith(f"{name}.") for found in names):
            missing.append(name)
    if missing:
        raise AwsError("ValidationError", f"{action} needs the parameter(s) {', '.join(missing)}")
