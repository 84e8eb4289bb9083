"""Lambda steps: a function runs as a program of this machine, if `up --run-functions` allows that.

A call is a record with the function in it, so that the next local AWS makes a call again that this
one did not finish.
"""

import base64
import functools
import io
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile, ZipFile

from container.errors import PlatformError, UserError, name_command
from local_test import container_files
from local_test.aws.account.account import Account
from local_test.aws.account.kinds import FUNCTION_CALL
from local_test.aws.protocol.messages import AwsError, reject
from local_test.aws.sagemaker.pipelines import definition
from local_test.runners.interface import Launch
from local_test.runners.log_lines import LineSplitter
from local_test.runners.process import ProcessRunner

_PROGRAM: Final = Path(__file__).with_name("function_program.py")
HINT: Final = (
    f"start the local AWS with `{name_command('up --run-functions')}`, and functions run on this "
    "machine"
)


def call(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Begin to call a function. Raises: AwsError if it does not exist or cannot run here."""
    if not account.runs_functions:
        reject(f"Lambda functions do not run here: {HINT}.")
    arn = request["FunctionArn"]
    function = account.find_function(arn)
    if function is None:
        raise AwsError("ResourceNotFoundException", f"Function not found: {arn}")
    if not function["runtime"].startswith("python"):
        reject(f"{arn} has the runtime {function['runtime']}; only functions in Python run here.")
    begun = {"FunctionCallStatus": "InProgress", "CreationTime": time.time(), "_function": function}
    name = request["FunctionCallName"]
    account.store.insert(FUNCTION_CALL, name, {**request, **begun})
    account.start_thread(f"function {name}", functools.partial(_run, account, name))
    return {"FunctionArn": arn}


def describe(account: Account, name: str) -> Mapping[str, Any]:
    """Return a call. Raises: AwsError if there is none."""
    record = account.store.find(FUNCTION_CALL, name)
    if record is None:
        raise AwsError("ResourceNotFound", f"Function call {name} does not exist.")
    return record


def stop(account: Account, name: str) -> None:
    """End a call that runs."""
    if container := account.live.get((FUNCTION_CALL.name, name)):
        container.kill()


def recover(account: Account) -> None:
    """Make the calls again that the last local AWS did not finish."""
    for record in account.store.list(FUNCTION_CALL):
        if record["FunctionCallStatus"] == "InProgress":
            name = record["FunctionCallName"]
            account.start_thread(f"function {name}", functools.partial(_run, account, name))


def _run(account: Account, name: str) -> None:
    record = describe(account, name)
    folder = account.directory / "functions" / name
    try:
        outputs, failure = _read_outputs(record, _call(account, record, folder))
    except (OSError, ValueError, RuntimeError, BadZipFile, UserError, PlatformError) as error:
        outputs, failure = {}, f"it cannot be called: {error}"
    finally:
        account.live.pop((FUNCTION_CALL.name, name), None)
        container_files.remove_tree(folder)
    if account.is_closing.is_set():  # the next local AWS makes the call again
        return
    end = {"FunctionCallStatus": "Completed", "OutputParameters": outputs}
    if failure:
        reason = f"ClientError: the Lambda function failed: {failure}"
        end |= {"FunctionCallStatus": "Failed", "FailureReason": reason}
    account.store.note(FUNCTION_CALL, name, lambda changed: changed.update(end))
    account.notify()


def _call(account: Account, record: Mapping[str, Any], folder: Path) -> Any:
    """Run a function to its end and return its answer or its fault."""
    function = record["_function"]
    container_files.remove_tree(folder)
    (folder / "code").mkdir(parents=True)
    with ZipFile(io.BytesIO(base64.b64decode(function["code"]))) as packed:
        packed.extractall(folder / "code")
    stream = f"{record['FunctionCallName']}-{time.time_ns()}"
    group = f"/aws/lambda/{function['name']}"
    context = {
        "function_name": function["name"],
        "function_version": "$LATEST",
        "invoked_function_arn": record["FunctionArn"],
        "memory_limit_in_mb": str(function["memory_mb"]),
        "aws_request_id": stream,
        "log_group_name": group,
        "log_stream_name": stream,
    }
    document = {**function, "event": record["Payload"], "context": context}
    (folder / "call.json").write_text(json.dumps(document), "utf-8")
    runner = ProcessRunner([sys.executable, "-uP", str(_PROGRAM)], directory=folder)
    client = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    environment = {**client, **function["environment"]}
    launch = Launch("function", (runner.mount_point(folder),), folder, environment)
    lines = LineSplitter(lambda line: account.logs.append(group, stream, line))
    container = runner.start(launch, lines.feed)
    account.live[FUNCTION_CALL.name, record["FunctionCallName"]] = container
    code = container.wait(function["timeout_s"])
    container.remove()
    lines.close()
    account.logs.finish(group, stream)
    if (folder / "answer.json").exists():
        return json.loads((folder / "answer.json").read_text("utf-8"))
    if code is None:
        return {"fault": f"Task timed out after {function['timeout_s']} seconds"}
    return {"fault": f"it ended with exit code {code} and without an answer"}


def _read_outputs(record: Mapping[str, Any], answer: Any) -> tuple[dict[str, Any], str]:
    """Return a step's output parameters, and why it has none."""
    if "fault" in answer:
        return {}, answer["fault"]
    found = answer["answer"]
    outputs = {}
    for item in record["OutputParameters"]:
        name = item["OutputName"]
        if not isinstance(found, dict) or name not in found:
            return {}, f"its answer has no {name!r}: {json.dumps(found):.200}"
        try:
            outputs[name] = definition.convert(item["OutputType"], found[name])
        except (TypeError, ValueError):
            return {}, f"its answer's {name!r} is not {item['OutputType']}: {found[name]!r:.100}"
    return outputs, ""
