"""Which function answers which operation of the JSON APIs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from local_test.aws.account import kinds
from local_test.aws.account.account import Account
from local_test.aws.sagemaker import (
    autoscaling,
    endpoint_operations,
    job_operations,
    listing,
    live_jobs,
    model_operations,
    package_operations,
    search_operations,
    tags,
)
from local_test.aws.sagemaker.tuning import tuning_operations

Operation = Callable[[Account, Mapping[str, Any]], dict[str, Any] | None]


def _bind(function: Callable[..., dict[str, Any]], choice: Any) -> Operation:
    """Return the operation that calls a function for one kind of resource, job or list."""
    return lambda account, request: function(account, choice, request)


OPERATIONS: Final[Mapping[str, Operation]] = {
    **{name: _bind(listing.list_resources, name) for name in listing.LISTINGS},
    "CreateTrainingJob": job_operations.create_training_job,
    "DescribeTrainingJob": _bind(job_operations.describe_job, live_jobs.TRAINING),
    "StopTrainingJob": _bind(job_operations.stop_job, live_jobs.TRAINING),
    "CreateProcessingJob": job_operations.create_processing_job,
    "DescribeProcessingJob": _bind(job_operations.describe_job, live_jobs.PROCESSING),
    "StopProcessingJob": _bind(job_operations.stop_job, live_jobs.PROCESSING),
    "CreateTransformJob": job_operations.create_transform_job,
    "DescribeTransformJob": _bind(job_operations.describe_job, live_jobs.TRANSFORM),
    "StopTransformJob": _bind(job_operations.stop_job, live_jobs.TRANSFORM),
    "CreateHyperParameterTuningJob": tuning_operations.create_tuning_job,
    "DescribeHyperParameterTuningJob": tuning_operations.describe_tuning_job,
    "StopHyperParameterTuningJob": tuning_operations.stop_tuning_job,
    "ListHyperParameterTuningJobs": tuning_operations.list_tuning_jobs,
    "ListTrainingJobsForHyperParameterTuningJob": tuning_operations.list_training_jobs,
    "CreateModel": model_operations.create_model,
    "DescribeModel": _bind(model_operations.describe, kinds.MODEL),
    "DeleteModel": model_operations.delete_model,
    "CreateEndpointConfig": model_operations.create_endpoint_config,
    "DescribeEndpointConfig": _bind(model_operations.describe, kinds.ENDPOINT_CONFIG),
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
    **{name: _bind(autoscaling.describe, name) for name in autoscaling.DESCRIBE_OPERATIONS},
    "AddTags": tags.add_tags,
    "ListTags": tags.list_tags,
    "DeleteTags": tags.delete_tags,
}
