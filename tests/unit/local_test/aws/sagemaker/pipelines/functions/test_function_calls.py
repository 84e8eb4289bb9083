"""Functions of Lambda as programs: what they get, and what becomes of their answers."""

import base64
import io
import zipfile
from typing import Any

import pytest

from local_test.aws.account.account import Account
from local_test.aws.account.kinds import FUNCTION_CALL
from local_test.aws.protocol.messages import AwsError
from local_test.aws.sagemaker.pipelines.functions import function_calls

ARN = "arn:aws:lambda:us-east-1:000000000000:function:f"
OUTPUTS = [
    {"OutputName": "text", "OutputType": "String"},
    {"OutputName": "count", "OutputType": "Integer"},
]

PACKED = io.BytesIO()
with zipfile.ZipFile(PACKED, "w") as packed:
    packed.writestr("x", "")
ENCRYPTED = base64.b64encode(PACKED.getvalue().replace(b"\x14\0\0\0", b"\x14\0\1\0")).decode()
"""By the first bit of the flags, in both headers of the file."""


def make(account: Account, monkeypatch: pytest.MonkeyPatch, body: str, **members: Any) -> None:
    """Let the account have a function of one line or several."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("greet.py", f"import os, time\ndef run(event, context):\n {body}\n")
    function = {
        "name": "f",
        "handler": "greet.run",
        "runtime": "python3.12",
        "timeout_s": 30,
        "code": base64.b64encode(packed.getvalue()).decode(),
        "environment": {"A": "1"},
        "memory_mb": 128,
        **members,
    }
    monkeypatch.setattr(account, "find_function", {ARN: function}.get)
    monkeypatch.setattr(account, "runs_functions", True)


def call(account: Account, **members: Any) -> Any:
    """Call it and return the record at the end."""
    request = {"FunctionArn": ARN, "Payload": {"x": 2}, "OutputParameters": OUTPUTS, **members}
    function_calls.call(account, {"FunctionCallName": "c", **request})
    assert account.wait_for_threads(60)
    return account.store.find(FUNCTION_CALL, "c")


def test_a_function_gets_its_event_and_its_environment(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(
        account,
        monkeypatch,
        'print("hello", context.function_name); '
        'return {"text": os.environ["A"], "count": event["x"]}',
    )
    record = call(account)
    assert record["FunctionCallStatus"] == "Completed"
    assert record["OutputParameters"] == {"text": "1", "count": 2}
    [stream] = account.logs.streams("/aws/lambda/f")
    assert [event.text for event in account.logs.read("/aws/lambda/f", stream)] == ["hello f"]
    assert not (account.directory / "functions/c").exists()


@pytest.mark.parametrize(
    ("body", "members", "reason"),
    [
        ('raise ValueError("no luck")', {}, "ValueError: no luck"),
        ("os._exit(7)", {}, "it ended with exit code 7 and without an answer"),
        ("time.sleep(60)", {"timeout_s": 1}, "Task timed out after 1 seconds"),
        ('return {"text": "x"}', {}, 'its answer has no \'count\': {"text": "x"}'),
        ('return {"text": "x", "count": "y"}', {}, "its answer's 'count' is not Integer: 'y'"),
        ("return object()", {}, "TypeError: Object of type object is not JSON serializable"),
        ("return 1", {"handler": "nowhere.run"}, "ModuleNotFoundError: No module named 'nowhere'"),
        ("return 1", {"code": "eA=="}, "it cannot be called: File is not a zip file"),
        ("return 1", {"code": ENCRYPTED}, "it cannot be called: File <ZipInfo filename='x'"),
    ],
)
def test_a_failure_says_why(
    account: Account,
    monkeypatch: pytest.MonkeyPatch,
    body: str,
    members: dict[str, Any],
    reason: str,
) -> None:
    make(account, monkeypatch, body, **members)
    record = call(account)
    assert record["FunctionCallStatus"] == "Failed"
    assert record["FailureReason"].startswith(f"ClientError: the Lambda function failed: {reason}")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"FunctionArn": f"{ARN}2"}, "Function not found"),
        ({}, "has the runtime nodejs20.x; only functions in Python run here"),
    ],
)
def test_what_cannot_run_is_refused(
    account: Account, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], reason: str
) -> None:
    make(account, monkeypatch, "return 1", runtime="nodejs20.x")
    with pytest.raises(AwsError, match=reason):
        call(account, **changes)
    monkeypatch.setattr(account, "runs_functions", False)
    with pytest.raises(AwsError, match="up --run-functions`"):
        call(account)


def test_a_call_that_a_restart_has_interrupted_is_made_again(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(account, monkeypatch, 'return {"text": "again", "count": 1}')
    record = {"FunctionCallName": "c", "FunctionArn": ARN, "Payload": {}}
    function = account.find_function(ARN)
    begun = {"OutputParameters": OUTPUTS, "FunctionCallStatus": "InProgress", "_function": function}
    account.store.insert(FUNCTION_CALL, "c", {**record, **begun})
    function_calls.recover(account)
    assert account.wait_for_threads(60)
    assert function_calls.describe(account, "c")["OutputParameters"]["text"] == "again"
