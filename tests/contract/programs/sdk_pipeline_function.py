"""A user of SDK v2 or v3 deploys by a Lambda step: python sdk_pipeline_function.py ROLE DIRECTORY.

The pipeline's function greets, and the next step is a condition on its answer. The last line that
is printed is JSON.
"""

import contextlib
import json
import sys
from pathlib import Path

from botocore.exceptions import WaiterError

try:
    from sagemaker.core.lambda_helper import Lambda
    from sagemaker.core.workflow.conditions import ConditionEquals
    from sagemaker.core.workflow.parameters import ParameterString
    from sagemaker.core.workflow.pipeline_context import PipelineSession
    from sagemaker.mlops.workflow.condition_step import ConditionStep
    from sagemaker.mlops.workflow.fail_step import FailStep
    from sagemaker.mlops.workflow.lambda_step import LambdaOutput, LambdaOutputTypeEnum, LambdaStep
    from sagemaker.mlops.workflow.pipeline import Pipeline
except ImportError:
    from sagemaker.lambda_helper import Lambda
    from sagemaker.workflow.condition_step import ConditionStep
    from sagemaker.workflow.conditions import ConditionEquals
    from sagemaker.workflow.fail_step import FailStep
    from sagemaker.workflow.lambda_step import LambdaOutput, LambdaOutputTypeEnum, LambdaStep
    from sagemaker.workflow.parameters import ParameterString
    from sagemaker.workflow.pipeline import Pipeline
    from sagemaker.workflow.pipeline_context import PipelineSession

HANDLER = """
import os

import boto3


def handle(event, context):
    print("greeting", event["name"], context.function_name)
    if event["name"] == "nobody":
        raise LookupError("nobody is here")
    names = [item["Name"] for item in boto3.client("s3").list_buckets()["Buckets"]]
    return {"greeting": os.environ["GREETING"] + event["name"], "buckets": len(names)}
"""

role, directory = sys.argv[1:]
script = Path(directory, "greet.py")
script.write_text(HANDLER)
session = PipelineSession()
who = ParameterString(name="Who", default_value="Ann")
name = "greet"
step = LambdaStep(
    name="Greet",
    lambda_func=Lambda(
        function_name=name,
        execution_role_arn=role,
        script=str(script),
        handler="greet.handle",
        runtime="python3.11",
        environment={"Variables": {"GREETING": "hello "}},
        session=session,
    ),
    inputs={"name": who},
    outputs=[
        LambdaOutput(output_name="greeting", output_type=LambdaOutputTypeEnum.String),
        LambdaOutput(output_name="buckets", output_type=LambdaOutputTypeEnum.Integer),
    ],
)
gate = ConditionStep(
    name="Gate",
    conditions=[ConditionEquals(left=step.properties.Outputs["greeting"], right="hello Ann")],
    if_steps=[],
    else_steps=[FailStep(name="Stranger", error_message="who is that?")],
)
pipeline = Pipeline(name=name, parameters=[who], steps=[step, gate], sagemaker_session=session)
pipeline.upsert(role_arn=role)


def run(**parameters: str) -> dict[str, list[str]]:
    execution = pipeline.start(parameters=parameters)
    with contextlib.suppress(WaiterError):
        execution.wait(delay=1)
    steps = {step["StepName"]: step for step in execution.list_steps()}
    outputs = steps["Greet"]["Metadata"]["Lambda"].get("OutputParameters", [])
    return {
        "steps": [step["StepStatus"] for step in steps.values()],
        "outputs": [output["Value"] for output in outputs],
        "reason": [steps["Greet"].get("FailureReason", "")],
    }


facts = {who: run(Who=who) for who in ("Ann", "Bob", "nobody")}
pipeline.upsert(role_arn=role)  # the function exists by now
pipeline.delete()
print()
print(json.dumps(facts))
