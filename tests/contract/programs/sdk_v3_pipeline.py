"""A user of the SDK v3 trains and gates by a pipeline, which passes once and fails once.

python sdk_v3_pipeline.py IMAGE ROLE DATA
"""

import contextlib
import json
import sys

from botocore.exceptions import WaiterError
from sagemaker.core.workflow.conditions import ConditionEquals
from sagemaker.core.workflow.parameters import ParameterString
from sagemaker.core.workflow.pipeline_context import PipelineSession
from sagemaker.mlops.workflow.condition_step import ConditionStep
from sagemaker.mlops.workflow.fail_step import FailStep
from sagemaker.mlops.workflow.pipeline import Pipeline
from sagemaker.mlops.workflow.steps import CacheConfig, TrainingStep
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData

IMAGE, ROLE, DATA = sys.argv[1:]
session = PipelineSession()
quality = ParameterString(name="Quality", default_value="good")
trainer = ModelTrainer(
    training_image=IMAGE,
    role=ROLE,
    base_job_name="pipeline-v3",
    compute=Compute(instance_type="ml.m5.large", instance_count=1, volume_size_in_gb=10),
    hyperparameters={"epochs": "1"},
    sagemaker_session=session,
)
train = TrainingStep(
    name="Train",
    step_args=trainer.train(
        input_data_config=[InputData(channel_name="training", data_source=DATA)]
    ),
    cache_config=CacheConfig(enable_caching=True, expire_after="P1D"),
)
gate = ConditionStep(
    name="Gate",
    conditions=[ConditionEquals(left=quality, right="good")],
    if_steps=[],
    else_steps=[FailStep(name="Refuse", error_message="not good enough")],
    depends_on=[train],
)
pipeline = Pipeline(
    name="pipeline-v3", parameters=[quality], steps=[train, gate], sagemaker_session=session
)
pipeline.upsert(role_arn=ROLE)


def run(**parameters: str) -> list[list[str]]:
    execution = pipeline.start(parameters=parameters)
    with contextlib.suppress(WaiterError):
        execution.wait(delay=1)
    steps = execution.list_steps()
    cached = [step["StepName"] for step in steps if "CacheHitResult" in step]
    return [*([step["StepName"], step["StepStatus"]] for step in reversed(steps)), cached]


facts = {"good": run(), "bad": run(Quality="bad")}
pipeline.delete()
print()
print(json.dumps(facts))
