"""Which function answers which operation of the JSON APIs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Final

from local_test.aws import autoscaling, endpoints, finding, jobs, models, packages, resources, tuning
from local_test.aws.account import Account

Operation = Callable[[Account, Mapping[str, Any]], dict[str, Any] | None]


def _job_operations() -> dict[str, Operation]:
    found: dict[str, Operation] = {
        "CreateTrainingJob": jobs.create_training_job,
        "CreateProcessingJob": jobs.create_processing_job,
        "CreateTransformJob": jobs.create_transform_job,
    }
    for job in jobs.JOB_KINDS:
        found[f"Describe{job.kind.prefix}"] = functools.partial(_call, jobs.describe_job, job)
        found[f"Stop{job.kind.prefix}"] = functools.partial(_call, jobs.stop_job, job)
    return found


def _call(function: Callable[..., Any], choice: Any, account: Account, request: Mapping[str, Any]) -> Any:
    return function(account, choice, request)


OPERATIONS: Final[Mapping[str, Operation]] = {
    **_job_operations(),
    **{name: functools.partial(_call, resources.list_resources, name) for name in resources.LIST_OPERATIONS},
    "CreateHyperParameterTuningJob": tuning.create_tuning_job,
    "DescribeHyperParameterTuningJob": tuning.describe_tuning_job,
    "StopHyperParameterTuningJob": tuning.stop_tuning_job,
    "ListTrainingJobsForHyperParameterTuningJob": tuning.list_training_jobs,
    "ListHyperParameterTuningJobs": tuning.list_tuning_jobs,
    "CreateModel": models.create_model,
    "DescribeModel": functools.partial(_call, models.describe, resources.MODEL),
    "DeleteModel": models.delete_model,
    "CreateEndpointConfig": models.create_endpoint_config,
    "DescribeEndpointConfig": functools.partial(_call, models.describe, resources.ENDPOINT_CONFIG),
    "DeleteEndpointConfig": models.delete_endpoint_config,
    "CreateEndpoint": endpoints.create_endpoint,
    "DescribeEndpoint": endpoints.describe_endpoint,
    "UpdateEndpoint": endpoints.update_endpoint,
    "UpdateEndpointWeightsAndCapacities": endpoints.update_weights_and_capacities,
    "DeleteEndpoint": endpoints.delete_endpoint,
    "CreateModelPackageGroup": packages.create_group,
    "DescribeModelPackageGroup": packages.describe_group,
    "DeleteModelPackageGroup": packages.delete_group,
    "CreateModelPackage": packages.create_package,
    "DescribeModelPackage": packages.describe_package,
    "UpdateModelPackage": packages.update_package,
    "DeleteModelPackage": packages.delete_package,
    "Search": finding.search,
    "RegisterScalableTarget": autoscaling.register_target,
    "DeregisterScalableTarget": autoscaling.deregister_target,
    "PutScalingPolicy": autoscaling.put_policy,
    "DeleteScalingPolicy": autoscaling.delete_policy,
    **{
        name: functools.partial(_call, autoscaling.describe, name)
        for name in ("DescribeScalableTargets", "DescribeScalingPolicies", "DescribeScalingActivities")
    },
    "AddTags": resources.add_tags,
    "ListTags": resources.list_tags,
    "DeleteTags": resources.delete_tags,
}
