"""A pipeline of SDK v2 as people write it: train, evaluate, gate, register, deploy, tune.

    python sdk_v2_pipeline.py IMAGE ROLE DATA

The last line that is printed is JSON.
"""

import json
import sys

import boto3
import sagemaker
from botocore.exceptions import WaiterError
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.model import Model
from sagemaker.processing import ProcessingInput, ProcessingOutput, Processor
from sagemaker.transformer import Transformer
from sagemaker.tuner import ContinuousParameter, HyperparameterTuner
from sagemaker.workflow.condition_step import ConditionStep
from sagemaker.workflow.conditions import ConditionGreaterThanOrEqualTo
from sagemaker.workflow.execution_variables import ExecutionVariables
from sagemaker.workflow.fail_step import FailStep
from sagemaker.workflow.functions import Join, JsonGet
from sagemaker.workflow.model_step import ModelStep
from sagemaker.workflow.parameters import ParameterFloat, ParameterInteger, ParameterString
from sagemaker.workflow.pipeline import Pipeline
from sagemaker.workflow.pipeline_context import PipelineSession
from sagemaker.workflow.properties import PropertyFile
from sagemaker.workflow.steps import (
    CacheConfig,
    ProcessingStep,
    TrainingStep,
    TransformStep,
    TuningStep,
)

image, role, data = sys.argv[1:]
session = PipelineSession()
bucket = session.default_bucket()
accuracy = ParameterString("Accuracy", default_value="0.95")
threshold = ParameterFloat("Threshold", default_value=0.9)
instances = ParameterInteger("Instances", default_value=1)
cache = CacheConfig(enable_caching=True, expire_after="P1D")

estimator = Estimator(
    image,
    role,
    instances,
    "ml.m5.large",
    output_path=f"s3://{bucket}/pipeline/models",
    hyperparameters={"accuracy": accuracy, "epochs": 1},
    metric_definitions=[{"Name": "validation_accuracy", "Regex": "validation_accuracy=([0-9.]+);"}],
    sagemaker_session=session,
)
train = TrainingStep(
    "Train",
    step_args=estimator.fit({"training": TrainingInput(data, content_type="text/csv")}),
    cache_config=cache,
)
processor = Processor(
    role=role,
    image_uri=image,
    instance_count=1,
    instance_type="ml.m5.large",
    sagemaker_session=session,
)
report = PropertyFile("Report", "evaluation", "metrics.json")
artifact = train.properties.ModelArtifacts.S3ModelArtifacts
evaluate = ProcessingStep(
    "Evaluate",
    step_args=processor.run(
        inputs=[ProcessingInput(artifact, "/opt/ml/processing/input/model", "model")],
        outputs=[
            ProcessingOutput(
                source="/opt/ml/processing/output/evaluation",
                output_name="evaluation",
                destination=Join(
                    on="/",
                    values=[
                        f"s3://{bucket}/pipeline/reports",
                        ExecutionVariables.PIPELINE_EXECUTION_ID,
                    ],
                ),
            )
        ],
    ),
    property_files=[report],
)
model = Model(image, artifact, role, sagemaker_session=session)
register = ModelStep(
    "Register",
    step_args=model.register(
        content_types=["text/csv"],
        response_types=["application/json"],
        model_package_group_name="pipeline",
        approval_status="Approved",
    ),
)
create = ModelStep("Create", step_args=model.create(instance_type="ml.m5.large"))
transformer = Transformer(
    create.properties.ModelName,
    1,
    "ml.m5.large",
    output_path=f"s3://{bucket}/pipeline/transformed",
    sagemaker_session=session,
)
transform = TransformStep("Transform", step_args=transformer.transform(data))
tuner = HyperparameterTuner(
    estimator,
    "validation_accuracy",
    {"learning_rate": ContinuousParameter(0.01, 0.1)},
    estimator.metric_definitions,
    max_jobs=2,
    max_parallel_jobs=2,
)
tune = TuningStep("Tune", step_args=tuner.fit({"training": TrainingInput(data)}))
best = Model(
    image, tune.get_top_model_s3_uri(0, bucket, "pipeline/models"), role, sagemaker_session=session
)
create_best = ModelStep("CreateBest", step_args=best.create(instance_type="ml.m5.large"))
found = JsonGet(step_name=evaluate.name, property_file=report, json_path="accuracy")
gate = ConditionStep(
    "Gate",
    conditions=[ConditionGreaterThanOrEqualTo(found, threshold)],
    if_steps=[register, create, transform, tune, create_best],
    else_steps=[FailStep("Reject", Join(on=" ", values=["below", threshold]))],
)
pipeline = Pipeline(
    "sdk-v2",
    parameters=[accuracy, threshold, instances],
    steps=[train, evaluate, gate],
    sagemaker_session=session,
)
pipeline.upsert(role)
pipeline.upsert(role, description="again")


def run(**parameters: object) -> tuple:
    execution = pipeline.start(parameters=parameters)
    try:
        execution.wait(delay=1, max_attempts=100)
    except WaiterError as error:
        print(f"wait: {type(error).__name__}", flush=True)
    described = execution.describe()
    steps = {step["StepName"]: step for step in execution.list_steps()}
    reasons = {name: step.get("FailureReason") for name, step in steps.items()}
    print(json.dumps(reasons), flush=True)
    return (
        described["PipelineExecutionStatus"],
        described.get("FailureReason", ""),
        {name: step["StepStatus"] for name, step in steps.items()},
        sorted(name for name, step in steps.items() if "CacheHitResult" in step),
    )


facts = {
    "good": run(),
    "cached": run(Threshold=0.5),
    "bad": run(Accuracy="0.8"),
    "packages": len(
        boto3.client("sagemaker").list_model_packages(ModelPackageGroupName="pipeline")[
            "ModelPackageSummaryList"
        ]
    ),
    "version": sagemaker.__version__.partition(".")[0],
}
print(json.dumps(facts))
