"""The least that each command, and the role of a job, may do: IAM policies as JSON documents.

Source: the Service Authorization Reference of SageMaker, S3, ECR, CloudWatch, CloudWatch Logs, KMS
and IAM, and "CreateTrainingJob API: Execution Role Permissions" of the SageMaker guide.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from local_test.remote.access import Account
from local_test.remote.permissions.statements import (
    CREATED,
    KINDS,
    OWNED,
    Arns,
    Grants,
    Policy,
    allow,
    allow_keys,
    call,
    document,
)

_RUNS: Final = {
    "train": (("TrainingJob",), "TrainingJobs"),
    "evaluate": (("ProcessingJob",), "ProcessingJobs"),
    "transform": (("TransformJob", "Model"), "TransformJobs"),
    "tune": (("HyperParameterTuningJob",), "TrainingJobs"),
    "serve": (("Endpoint", "EndpointConfig", "Model"), "Endpoints/*"),
}
"""By command: what it makes, and the name of the log group."""
_METRICS: Final = {"StringLike": {"cloudwatch:namespace": ["/aws/sagemaker/*", "AWS/SageMaker"]}}
_JOB_LOGS: Final = ("TrainingJobs", "ProcessingJobs", "TransformJobs")
_INTERFACES: Final = (
    *("ec2:CreateNetworkInterface", "ec2:CreateNetworkInterfacePermission"),
    *("ec2:DeleteNetworkInterface", "ec2:DeleteNetworkInterfacePermission"),
)
_NETWORKS: Final = (
    *("ec2:DescribeNetworkInterfaces", "ec2:DescribeVpcs", "ec2:DescribeDhcpOptions"),
    *("ec2:DescribeSubnets", "ec2:DescribeSecurityGroups"),
)


def make_trust_policy(account: Account) -> Policy:
    """Return who may take the role of a job: SageMaker, for this account only."""
    return document(
        {
            "Sid": "SageMaker",
            "Effect": "Allow",
            "Principal": {"Service": "sagemaker.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"aws:SourceAccount": account.number}},
        }
    )


def make_role_policy(account: Account, grants: Grants) -> Policy:
    """Return what a job may do with its role."""
    arns = Arns(account)
    read = [f"arn:{account.partition}:s3:::{bucket}" for bucket in grants.buckets]
    statements = [
        allow("List", ["s3:ListBucket"], [arns.bucket], arns.in_account),
        _allow_objects(arns),
        allow("Login", ["ecr:GetAuthorizationToken"], ["*"]),
        allow(
            "Pull",
            ["ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage"],
            [arns.name("ecr", "repository/*")],
        ),
        allow(
            "Log",
            [
                *("logs:CreateLogGroup", "logs:CreateLogStream"),
                *("logs:DescribeLogStreams", "logs:PutLogEvents"),
            ],
            [arns.name("logs", "log-group:/aws/sagemaker/*")],
        ),
        allow("Metrics", ["cloudwatch:PutMetricData"], ["*"], _METRICS),
    ]
    if read:
        everything = [*read, *(f"{arn}/*" for arn in read)]
        statements.append(allow("OtherBuckets", ["s3:ListBucket", "s3:GetObject"], everything))
    if grants.in_vpc:
        statements.append(allow("Network", _INTERFACES, [arns.name("ec2", "*")]))
        statements.append(allow("Networks", _NETWORKS, ["*"]))
    return document(*statements, *allow_keys(grants))


def make_command_policy(account: Account, command: str, role: str, grants: Grants) -> Policy:
    """Return what the caller of a command may do; `role` is the ARN that jobs get."""
    statements = COMMANDS[command](Arns(account), command, role)
    if command in _RUNS:
        statements += allow_keys(grants)
    return document(*statements)


def _allow_objects(arns: Arns) -> dict[str, Any]:
    actions = ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"]
    return allow("Objects", actions, [arns.objects], arns.in_account)


def _allow_transfer(arns: Arns) -> list[dict[str, Any]]:
    """Return what every command needs that starts something: data, image and price.

    Images go only to repositories that carry the tag. ECR has no condition that tells the tag of
    CreateRepository from one that TagResource adds later.
    """
    repositories = [arns.name("ecr", "repository/*")]
    layers = ["ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload"]
    return [
        allow("Bucket", ["s3:ListBucket", "s3:PutBucketTagging"], [arns.bucket], arns.in_account),
        allow("MakeBucket", ["s3:CreateBucket"], [arns.bucket]),
        _allow_objects(arns),
        allow("Login", ["ecr:GetAuthorizationToken"], ["*"]),
        allow("Image", ["ecr:BatchGetImage"], repositories),
        allow("Repository", ["ecr:CreateRepository", "ecr:TagResource"], repositories, CREATED),
        allow(
            "Push",
            ["ecr:BatchCheckLayerAvailability", *layers, "ecr:PutImage"],
            repositories,
            OWNED,
        ),
        allow("Price", ["pricing:GetProducts"], ["*"]),
    ]


def _allow_run(arns: Arns, command: str, role: str) -> list[dict[str, Any]]:
    nouns, group = _RUNS[command]
    resources = arns.sagemaker(*nouns)
    creations = call("Create", nouns)
    ends = [call("Stop" if noun.endswith("Job") else "Delete", [noun])[0] for noun in nouns]
    service = {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
    on_creation = [f"Create{noun}" for noun in nouns]
    statements = [
        *_allow_transfer(arns),
        allow("PassRole", ["iam:PassRole"], [role], service),
        allow("Create", creations, resources, CREATED),
        allow(
            "Tag",
            ["sagemaker:AddTags"],
            resources,
            {"StringEquals": {"sagemaker:TaggingAction": on_creation}},
        ),
        allow("Follow", call("Describe", nouns), resources),
        allow("End", ends, resources, OWNED),
        allow("Log", ["logs:DescribeLogStreams", "logs:GetLogEvents"], arns.logs(group)),
    ]
    if command == "tune":
        best = call("Describe", ["TrainingJob"])
        statements.append(_allow_trainings(arns))
        statements.append(allow("Best", best, arns.sagemaker("TrainingJob")))
    return statements


def _allow_trainings(arns: Arns) -> dict[str, Any]:
    """Return that the training jobs of a tuning job may be listed."""
    action = "sagemaker:ListTrainingJobsForHyperParameterTuningJob"
    return allow("Trainings", [action], arns.sagemaker("HyperParameterTuningJob"))


def _allow_check(arns: Arns, command: str, role: str) -> list[dict[str, Any]]:
    del command
    repositories = [arns.name("ecr", "repository/*")]
    return [
        allow("Service", ["sagemaker:ListTrainingJobs"], ["*"]),
        allow("Role", ["iam:GetRole"], [role]),
        allow("Bucket", ["s3:ListBucket"], [arns.bucket], arns.in_account),
        allow("Quotas", ["servicequotas:ListServiceQuotas"], ["*"]),
        allow("Image", ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"], repositories),
    ]


def _allow_list(arns: Arns, command: str, role: str) -> list[dict[str, Any]]:
    del command, role
    return [
        allow("List", [f"sagemaker:List{noun}s" for noun in KINDS], ["*"]),
        allow("Tags", ["sagemaker:ListTags"], arns.sagemaker(*KINDS)),
        allow("Bucket", ["s3:ListBucket"], [arns.bucket], arns.in_account),
        allow(
            "Images",
            ["ecr:DescribeRepositories", "ecr:ListTagsForResource", "ecr:ListImages"],
            [arns.name("ecr", "repository/*")],
        ),
    ]


def _allow_stop(arns: Arns, command: str, role: str) -> list[dict[str, Any]]:
    running = [noun for noun in KINDS if noun not in ("EndpointConfig", "Model")]
    resources = arns.sagemaker(*running)
    stops = call("Stop", [noun for noun in running if noun != "Endpoint"])
    return [
        *_allow_list(arns, command, role)[:2],  # bucket and images do not run
        allow("Look", call("Describe", running), resources),
        allow("Stop", [*stops, "sagemaker:DeleteEndpoint"], resources, OWNED),
    ]


def _allow_delete(arns: Arns, command: str, role: str) -> list[dict[str, Any]]:
    nouns = [noun for noun in KINDS if noun != "TransformJob"]
    contents = ["s3:ListBucket", "s3:ListBucketMultipartUploads"]
    objects = ["s3:DeleteObject", "s3:AbortMultipartUpload"]
    streams = ["logs:DescribeLogStreams", "logs:DeleteLogStream"]
    return [
        *_allow_stop(arns, command, role),
        allow("Delete", call("Delete", nouns), arns.sagemaker(*nouns), OWNED),
        allow("Untag", ["sagemaker:DeleteTags"], arns.sagemaker("TransformJob"), OWNED),
        allow("Bucket", contents, [arns.bucket], arns.in_account),
        allow("Objects", objects, [arns.objects], arns.in_account),
        allow("Streams", streams, arns.logs(*_JOB_LOGS)),
        allow("Groups", ["logs:DeleteLogGroup"], arns.logs("Endpoints/*")),
    ]


def _allow_delete_one(arns: Arns, command: str, role: str) -> list[dict[str, Any]]:
    return [*_allow_delete(arns, command, role), _allow_trainings(arns)]


def _allow_clean(arns: Arns, command: str, role: str) -> list[dict[str, Any]]:
    images = _allow_list(arns, command, role)[-1]
    deletions = ["ecr:BatchDeleteImage", "ecr:DeleteRepository"]
    bucket = ["s3:GetBucketTagging", "s3:DeleteBucket"]
    return [
        *_allow_delete(arns, command, role),
        images,
        allow("Repositories", deletions, images["Resource"], OWNED),
        allow("EmptyBucket", bucket, [arns.bucket], arns.in_account),
    ]


_Maker = Callable[[Arns, str, str], list[dict[str, Any]]]
COMMANDS: Final[Mapping[str, _Maker]] = {
    **dict.fromkeys(_RUNS, _allow_run),
    "check": _allow_check,
    "ls": _allow_list,
    "stop": _allow_stop,
    "delete": _allow_delete_one,
    "clean": _allow_clean,
}
"""Makes the statements of a command's policy."""
