"""Which function answers which operation of the JSON APIs, and which operations have none.

`python -m local_test operations` writes the latter to `docs/local-sagemaker-operations.md`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal

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
    tags,
)
from local_test.aws.sagemaker.hosting import component_operations
from local_test.aws.sagemaker.live_jobs import JOB_KINDS
from local_test.aws.sagemaker.metadata import experiments, lineage, model_cards, search_operations
from local_test.aws.sagemaker.pipelines import execution_operations, pipeline_operations
from local_test.aws.sagemaker.tuning import tuning_operations
from local_test.requests import shapes

Operation = Callable[[Account, Mapping[str, Any]], dict[str, Any] | None]
Tier = Literal["executed", "recorded", "refused"]


def _bind(function: Callable[..., dict[str, Any] | None], choice: Any) -> Operation:
    """Return the operation that calls a function for one kind of resource, job or list."""
    return lambda account, request: function(account, choice, request)


OPERATIONS: Final[Mapping[str, Operation]] = {
    **{name: _bind(listing.list_resources, name) for name in listing.LISTINGS},
    **{f"Describe{job.kind.prefix}": _bind(job_operations.describe_job, job) for job in JOB_KINDS},
    **{f"Stop{job.kind.prefix}": _bind(job_operations.stop_job, job) for job in JOB_KINDS},
    "CreateTrainingJob": job_operations.create_training_job,
    "UpdateTrainingJob": job_operations.update_training_job,
    "DeleteTrainingJob": _bind(job_operations.delete_job, live_jobs.TRAINING),
    "CreateProcessingJob": job_operations.create_processing_job,
    "DeleteProcessingJob": _bind(job_operations.delete_job, live_jobs.PROCESSING),
    "CreateTransformJob": job_operations.create_transform_job,
    "CreateHyperParameterTuningJob": tuning_operations.create_tuning_job,
    "DescribeHyperParameterTuningJob": tuning_operations.describe_tuning_job,
    "StopHyperParameterTuningJob": tuning_operations.stop_tuning_job,
    "DeleteHyperParameterTuningJob": tuning_operations.delete_tuning_job,
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
    "PutModelPackageGroupPolicy": package_operations.put_group_policy,
    "GetModelPackageGroupPolicy": package_operations.get_group_policy,
    "DeleteModelPackageGroupPolicy": package_operations.delete_group_policy,
    "BatchDescribeModelPackage": package_operations.describe_packages,
    "CreateModelPackage": package_operations.create_package,
    "DescribeModelPackage": package_operations.describe_package,
    "ListModelPackages": package_operations.list_packages,
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
    **component_operations.OPERATIONS,
    **pipeline_operations.OPERATIONS,
    **execution_operations.OPERATIONS,
    **experiments.OPERATIONS,
    **lineage.OPERATIONS,
    **model_cards.OPERATIONS,
}
"""The operations that do here what they do on AWS, by name."""

RECORDED_HERE: Final = frozenset(
    {"PutModelPackageGroupPolicy", "GetModelPackageGroupPolicy", "DeleteModelPackageGroupPolicy"}
)
"""What we keep with our own records, although it changes nothing on this machine."""


def _name(prefix: str, kinds: Iterable[str], listed: str = "") -> list[str]:
    names = [f"{verb}{prefix}{kind}" for verb in ("Create", "Describe", "Delete") for kind in kinds]
    return [*names, *(f"List{prefix}{kind}s" for kind in kinds), *([listed] if listed else [])]


RECORDED_BY_MOTO: Final = frozenset(
    {
        *_name("", ["NotebookInstance", "Cluster", "Domain"], "ListClusterNodes"),
        *("StartNotebookInstance", "StopNotebookInstance", "DescribeClusterNode"),
        *(f"{verb}NotebookInstanceLifecycleConfig" for verb in ("Create", "Describe", "Delete")),
        *_name(
            "",
            [
                "DataQualityJobDefinition",
                "ModelBiasJobDefinition",
                "ModelExplainabilityJobDefinition",
                "ModelQualityJobDefinition",
            ],
        ),
        *("CreateFeatureGroup", "DescribeFeatureGroup"),
    }
)
"""What moto keeps. Jobs that moto only pretends to run are refused."""

_HEAD: Final = """\
# What the local SageMaker does with each operation

This page is the output of `python -m local_test operations`. The tiers are:

- **executed**: the operation does what it does on SageMaker.
- **recorded**: the operation is accepted, checked and remembered, and has no effect. The answer has
  the header `X-Local-Test-Tier: recorded`.
- **refused**: the operation answers `UnknownOperationException` and its name.
"""


def find_tier(operation: str) -> Tier:
    """Return what happens to an operation."""
    if operation in RECORDED_HERE or operation in RECORDED_BY_MOTO:
        return "recorded"
    return "executed" if operation in OPERATIONS else "refused"


def format_table() -> str:
    """Return the page with all operations that botocore knows."""
    tiers = {name: find_tier(name) for name in sorted(shapes.service_model().operation_names)}
    counts = {tier: [*tiers.values()].count(tier) for tier in ("executed", "recorded", "refused")}
    summary = ", ".join(f"{count} {tier}" for tier, count in counts.items())
    lines = [
        _HEAD,
        f"Of {len(tiers)} operations: {summary}.",
        "",
        "| operation | tier |",
        "|---|---|",
    ]
    lines += [f"| `{name}` | {tier} |" for name, tier in tiers.items()]
    return "\n".join([*lines, ""])
