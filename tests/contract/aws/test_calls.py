"""The calls of AWS's walk-throughs work, or are refused, as the table says."""

from __future__ import annotations

import collections
from typing import Any

from botocore.exceptions import ClientError, WaiterError

from tests.contract.aws import calls_around
from tests.contract.aws.calls import CALLS, Call
from tests.contract.aws.client import LocalAws, check_answer
from tests.support import wait_for

DECODED = ("iam", "s3")
SERVICES = {
    "autoscaling": "application-autoscaling",
    "metrics": "sagemaker-metrics",
    "runtime": "sagemaker-runtime",
}


def send(aws: LocalAws, call: Call) -> Any:
    service, _, method = call.method.removeprefix("poll:").partition(".")
    client = aws.client(SERVICES.get(service, service), parameter_validation=False)
    if service in DECODED:  # botocore changes their answers before the check
        client.meta.events.unregister(f"after-call.{service}", check_answer)
    if method.startswith("wait:"):
        waiter = client.get_waiter(method.removeprefix("wait:"))
        waiter.wait(**call.arguments, WaiterConfig={"Delay": 0.1, "MaxAttempts": 1200})
        return {}
    answer = getattr(client, method)(**call.arguments)
    if "Body" in answer:
        answer["Body"].close()
    return answer


def find(answer: Any, path: str) -> Any:
    for part in path.split("."):
        if isinstance(answer, list):
            answer = answer[int(part)] if int(part) < len(answer) else None
        else:
            answer = (answer or {}).get(part)
    return answer


def fill(call: Call, answer: Any) -> Call:
    """Put parts of the answer before in the places of the arguments that name them."""
    arguments = {
        name: find(answer, value[1:]) if str(value).startswith("$") else value
        for name, value in call.arguments.items()
    }
    return call._replace(arguments=arguments)


def judge(aws: LocalAws, call: Call, answers: list[Any]) -> str:
    """Make a call; return what is not as the table says, or an empty string."""
    call = fill(call, answers[-1] if answers else {})
    try:
        answer = send(aws, call)
        if call.method.startswith("poll:"):
            answer = wait_for(
                lambda: send(aws, call),
                lambda got: all(find(got, path) == value for path, value in call.answers.items()),
            )
    except WaiterError as error:
        is_expected = call.error == "waiter" and call.says in str(error)
        return "" if is_expected else f"{error}: {error.last_response}"
    except ClientError as error:
        code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
        is_expected = code == call.error and call.says in message
        return "" if is_expected and message else f"{code}: {message}"
    answers.append(answer)
    if call.error:
        return "it is accepted"
    wrong = {
        path: find(answer, path)
        for path, value in call.answers.items()
        if find(answer, path) != value
    }
    return f"it answers {wrong}" if wrong else ""


def test_each_call_of_the_table_has_its_outcome(aws: LocalAws) -> None:
    answers: list[Any] = []
    faults = {
        f"{number} {call.name}": judge(aws, call, answers) for number, call in enumerate(CALLS)
    }
    assert {name: fault for name, fault in faults.items() if fault} == {}


def test_the_table_is_long_and_refuses_too() -> None:
    assert calls_around.ONE  # it adds its calls
    assert len(CALLS) >= 400
    outcomes = collections.Counter(bool(call.error) for call in CALLS)
    assert outcomes[True] >= 60
    assert len({call.walk for call in CALLS}) >= 15
