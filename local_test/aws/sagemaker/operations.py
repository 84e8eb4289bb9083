"""Which function answers which operation of the JSON APIs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Final

from local_test.aws.account import resources
from local_test.aws.account.account import Account
from local_test.aws.sagemaker import (
    autoscaling,
    endpoint_operations,
    job_operations,
    model_operations,
    package_operations,
    search_operations,
    tuning_operations,
)

Operation = Callable[[Account, Mapping[str, Any]], dict[str, Any] | None]


def _job_operations() -> dict[str, Operation]:
    found: dict[str, Operation] = {
        "CreateTrainingJob": job_operations.create_training_job,
        "CreateProcessingJob": job_operations.create_processing_job,
        "CreateTransformJob": job_operations.create_transform_job,
    }
    for job in job_operations.JOB_KINDS:
        found[f"Describe{job.kind.prefix}"] = functools.partial(
            _call, job_operations.describe_job, job
        )
        found[f"Stop{job.kind.prefix}"] = functools.partial(_call, job_operations.stop_job, job)
    return found


def _call(
    function: Callable[..., Any], choice: Any, account: Account, request: Mapping[str, Any]
) -> Any:
    return function(account, choice, request)


OPERATIONS: Final[Mapping[str, Operation]] = {
    **_job_operations(),
    **{
        name: functools.partial(_call, resources.list_resources, name)
        for name in resources.LIST_OPERATIONS
    },
    "CreateHyperParameterTuningJob": tuning_operations.create_tuning_job,
    "DescribeHyperParameterTuningJob": tuning_operations.describe_tuning_job,
    "StopHyperParameterTuningJob": tuning_operations.stop_tuning_job,
    "ListTrainingJobsForHyperParameterTuningJob": tuning_operations.list_training_jobs,
    "ListHyperParameterTuningJobs": tuning_operations.list_tuning_jobs,
    "CreateModel": model_operations.create_model,
    "DescribeModel": functools.partial(_call, model_operations.describe, resources.MODEL),
    "DeleteModel": model_operations.delete_model,
    "CreateEndpointConfig": model_operations.create_endpoint_config,
    "DescribeEndpointConfig": functools.partial(
        _call, model_operations.describe, resources.ENDPOINT_CONFIG
    ),
    "DeleteEndpointConfig": model_operations.delete_endpoint_config,
    "CreateEndpoint": endpoint_operations.create_endpoint,
    "DescribeEndpoint": endpoint_operations.describe_endpoint,
    "UpdateEndpoint": endpoint_operations.update_endpoint,
    "UpdateEndpointWeightsAndCapacities": endpoint_operations.update_weights_and_capacities,
    "DeleteEndpoint": endpoint_operations.delete_endpoint,
    "CreateModelPackageGroup": package_operations.create_group,
    "DescribeModelPackageGroup": package_operations.describe_group,
    "DeleteModelPackageGroup": package_operations.delete_group,
    "CreateModelPackage": package_operations.create_package,
    "DescribeModelPackage": package_operations.describe_package,
    "UpdateModelPackage": package_operations.update_package,
    "DeleteModelPackage": package_operations.delete_package,
    "Search": search_operations.search,
    "RegisterScalableTarget": autoscaling.register_target,
    "DeregisterScalableTarget": autoscaling.deregister_target,
    "PutScalingPolicy": autoscaling.put_policy,
    "DeleteScalingPolicy": autoscaling.delete_policy,
    **{
        name: functools.partial(_call, autoscaling.describe, name)
        for name in (
            "DescribeScalableTargets",
            "DescribeScalingPolicies",
            "DescribeScalingActivities",
        )
    },
    "AddTags": resources.add_tags,
    "ListTags": resources.list_tags,
    "DeleteTags": resources.delete_tags,
}
