"""What the code that runs later makes of what an operation has recorded."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from local_test.aws.account.account import Account
from local_test.aws.account.kinds import PIPELINE_EXECUTION
from local_test.aws.sagemaker import autoscaling
from local_test.aws.sagemaker.hosting import scaling_policies
from local_test.aws.sagemaker.pipelines import execution_operations, runner
from local_test.aws.sagemaker.tuning import early_stopping, tuning_operations
from local_test.aws.sagemaker.tuning.definitions import read_definitions
from local_test.aws.sagemaker.tuning.judgement import judge
from local_test.aws.sagemaker.tuning.searchers import make_searcher
from tests.unit.local_test.aws.process.crowd import GIVEN

Record = dict[str, Any]
_LONG_S: Final = 10_000


def _tune(account: Account, record: Record) -> Any:
    """Return the search space, the first point, and how the job ends after five training jobs."""
    request = record["_request"]
    config = request["HyperParameterTuningJobConfig"]
    definitions = read_definitions(request)
    jobs: list[Any] = [
        {
            "TrainingJobStatus": "Completed",
            "FinalMetricDataList": [{"MetricName": definitions[0].metric, "Value": value}],
            "_definition": 0,
        }
        for value in (3.0, 2.0, 2.0, 2.0, 2.0)
    ]
    begun: Any = {**record, "CreationTime": time.time() - _LONG_S}
    point = make_searcher(config, definitions[0].ranges, 0, 0).propose()
    return (
        definitions,
        point if "RandomSeed" in config else None,
        judge(begun, definitions, jobs, is_exhausted=False),
        early_stopping.is_enabled(config),
        tuning_operations.enrich(account, begun).get("OverallBestTrainingJob"),
    )


def _scale(_: Account, record: Record) -> Any:
    """Return what a target or a policy allows."""
    tracking = record.get(scaling_policies.TRACKING, {"TargetValue": 1.0})
    moments = [time.time() - ago_s for ago_s in (150, _LONG_S)]
    targets: list[Any] = [{**record, "_scaled_out": at_s} for at_s in moments]
    return scaling_policies.track(2, 0.5, tracking), [
        autoscaling.may_scale(target, {scaling_policies.TRACKING: tracking}, direction)
        for target in targets
        for direction in ("In", "Out")
    ]


def _run_pipeline(account: Account, record: Record) -> Any:
    """Return the steps that begin before the first ends."""
    if "PipelineExecutionArn" not in record:
        request = {"PipelineName": record["PipelineName"], "PipelineParameters": GIVEN}
        answer = execution_operations.start(account, {**request, "ClientRequestToken": "later"})
        name = answer["PipelineExecutionArn"].rpartition("/")[2]
    else:
        name = record["_name"]
    runner.run(account, name)
    found = account.store.find(PIPELINE_EXECUTION, name) or {}
    return found["_steps"].keys()


READERS: Final[Mapping[str, Callable[[Account, Record], Any]]] = {
    "CreateHyperParameterTuningJob": _tune,
    "PutScalingPolicy": _scale,
    "RegisterScalableTarget": _scale,
    **dict.fromkeys(("CreatePipeline", "UpdatePipeline"), _run_pipeline),
    **dict.fromkeys(
        ("StartPipelineExecution", "RetryPipelineExecution", "UpdatePipelineExecution"),
        _run_pipeline,
    ),
}
"""By operation, a function of a record that it has changed."""
