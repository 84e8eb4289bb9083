"""The least that each command, and the role of a job, may do: IAM policies as JSON documents.

Source: the Service Authorization Reference of SageMaker, S3, ECR, CloudWatch Logs and IAM, and
"CreateTrainingJob API: Execution Role Permissions" of the SageMaker guide.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from local_test.remote.access import PREFIX, TAG, Account

Policy = dict[str, Any]
_CREATED: Final = {"Null": {f"aws:RequestTag/{TAG}": "false"}}
"""Only what is made with the tag."""
_OWNED: Final = {"Null": {f"aws:ResourceTag/{TAG}": "false"}}
"""Only what carries the tag."""
_JOBS: Final = {
    "train": ("TrainingJob", "training-job", "TrainingJobs"),
    "evaluate": ("ProcessingJob", "processing-job", "ProcessingJobs"),
    "transform": ("TransformJob", "transform-job", "TransformJobs"),
    "tune": ("HyperParameterTuningJob", "hyper-parameter-tuning-job", "TrainingJobs"),
}
"""By command: the kind of job in operations, in ARNs and in the name of its log group."""
_KINDS: Final = {
    "Endpoint": "endpoint",
    "HyperParameterTuningJob": "hyper-parameter-tuning-job",
    "TrainingJob": "training-job",
    "ProcessingJob": "processing-job",
    "TransformJob": "transform-job",
    "EndpointConfig": "endpoint-config",
    "Model": "model",
}
"""What `byo aws ls` lists: the noun in operations, and in ARNs."""


def make_trust_policy(account: Account) -> Policy:
    """Return who may take the role of a job: SageMaker, for this account only."""
    return _document(
        {
            "Sid": "SageMaker",
            "Effect": "Allow",
            "Principal": {"Service": "sagemaker.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"aws:SourceAccount": account.number}},
        }
    )


def make_role_policy(account: Account, buckets: Sequence[str] = ()) -> Policy:
    """Return what a job may do with its role; `buckets` are those it may read besides ours."""
    arns = _Arns(account)
    read = [f"arn:{account.partition}:s3:::{bucket}" for bucket in buckets]
    return _document(
        _allow("List", ["s3:ListBucket"], [arns.bucket, *read]),
        _allow("Read", ["s3:GetObject"], [arns.objects, *(f"{arn}/*" for arn in read)]),
        _allow("Write", ["s3:PutObject", "s3:AbortMultipartUpload"], [arns.objects]),
        _allow("Login", ["ecr:GetAuthorizationToken"], ["*"]),
        _allow(
            "Pull",
            ["ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage"],
            [arns.name("ecr", "repository/*")],
        ),
        _allow(
            "Log",
            [
                *("logs:CreateLogGroup", "logs:CreateLogStream"),
                *("logs:DescribeLogStreams", "logs:PutLogEvents"),
            ],
            [arns.name("logs", "log-group:/aws/sagemaker/*")],
        ),
        _allow("Metrics", ["cloudwatch:PutMetricData"], ["*"]),
    )


def make_command_policy(account: Account, command: str, role: str) -> Policy:
    """Return what the caller of a command may do; `role` is the ARN that jobs get."""
    return _document(*COMMANDS[command](_Arns(account), command, role))


@dataclass(frozen=True)
class _Arns:
    account: Account

    @property
    def bucket(self) -> str:
        return f"arn:{self.account.partition}:s3:::{self.account.bucket}"

    @property
    def objects(self) -> str:
        return f"{self.bucket}/{PREFIX}*"

    def name(self, service: str, resource: str) -> str:
        where = f"{self.account.region}:{self.account.number}"
        return f"arn:{self.account.partition}:{service}:{where}:{resource}"

    def sagemaker(self, kind: str) -> str:
        return self.name("sagemaker", f"{kind}/*")

    def log(self, group: str) -> list[str]:
        return [self.name("logs", f"log-group:/aws/sagemaker/{group}{end}") for end in ("", ":*")]


def _allow(
    sid: str, actions: Sequence[str], resources: Sequence[str], condition: Any = None
) -> dict[str, Any]:
    statement: dict[str, Any] = {
        "Sid": sid,
        "Effect": "Allow",
        "Action": list(actions),
        "Resource": list(resources),
    }
    if condition is not None:
        statement["Condition"] = condition
    return statement


def _document(*statements: dict[str, Any]) -> Policy:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _allow_transfer(arns: _Arns) -> list[dict[str, Any]]:
    """Return what every command needs that starts something: data, image and price."""
    repositories = [arns.name("ecr", "repository/*")]
    return [
        _allow(
            "Bucket", ["s3:ListBucket", "s3:CreateBucket", "s3:PutBucketTagging"], [arns.bucket]
        ),
        _allow(
            "Objects", ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"], [arns.objects]
        ),
        _allow("Login", ["ecr:GetAuthorizationToken"], ["*"]),
        _allow(
            "Push",
            [
                *("ecr:BatchGetImage", "ecr:CreateRepository", "ecr:TagResource"),
                *("ecr:BatchCheckLayerAvailability", "ecr:InitiateLayerUpload"),
                *("ecr:UploadLayerPart", "ecr:CompleteLayerUpload", "ecr:PutImage"),
            ],
            repositories,
        ),
        _allow("Price", ["pricing:GetProducts"], ["*"]),
    ]


def _allow_role(role: str) -> dict[str, Any]:
    service = {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
    return _allow("PassRole", ["iam:PassRole"], [role], service)


def _allow_job(arns: _Arns, command: str, role: str) -> list[dict[str, Any]]:
    noun, kind, group = _JOBS[command]
    jobs = [arns.sagemaker(kind)]
    statements = [
        *_allow_transfer(arns),
        _allow_role(role),
        _allow("Create", [f"sagemaker:Create{noun}", "sagemaker:AddTags"], jobs, _CREATED),
        _allow("Follow", [f"sagemaker:Describe{noun}"], jobs),
        _allow("Stop", [f"sagemaker:Stop{noun}"], jobs, _OWNED),
        _allow("Log", ["logs:DescribeLogStreams", "logs:GetLogEvents"], arns.log(group)),
    ]
    if command == "transform":
        models = [arns.sagemaker("model")]
        actions = ["sagemaker:CreateModel", "sagemaker:AddTags"]
        statements.append(_allow("Model", actions, models, _CREATED))
        statements.append(_allow("Look", ["sagemaker:DescribeModel"], models))
        statements.append(_allow("Undo", ["sagemaker:DeleteModel"], models, _OWNED))
    if command == "tune":
        trainings = [arns.sagemaker("training-job")]
        statements.append(_allow_trainings())
        statements.append(_allow("Best", ["sagemaker:DescribeTrainingJob"], trainings))
    return statements


def _allow_trainings() -> dict[str, Any]:
    """Return that the training jobs of a tuning job may be listed; lists take no ARN."""
    return _allow("Trainings", ["sagemaker:ListTrainingJobsForHyperParameterTuningJob"], ["*"])


def _allow_endpoint(arns: _Arns, command: str, role: str) -> list[dict[str, Any]]:
    del command
    kinds = {"Model": "model", "EndpointConfig": "endpoint-config", "Endpoint": "endpoint"}
    resources = [arns.sagemaker(kind) for kind in kinds.values()]
    creations = [f"sagemaker:Create{noun}" for noun in kinds]
    return [
        *_allow_transfer(arns),
        _allow_role(role),
        _allow("Create", [*creations, "sagemaker:AddTags"], resources, _CREATED),
        _allow("Follow", [f"sagemaker:Describe{noun}" for noun in kinds], resources),
        _allow("Delete", [f"sagemaker:Delete{noun}" for noun in kinds], resources, _OWNED),
        _allow("Log", ["logs:DescribeLogStreams", "logs:GetLogEvents"], arns.log("Endpoints/*")),
    ]


def _allow_check(arns: _Arns, command: str, role: str) -> list[dict[str, Any]]:
    del command
    repositories = [arns.name("ecr", "repository/*")]
    return [
        _allow("Service", ["sagemaker:ListTrainingJobs"], ["*"]),
        _allow("Role", ["iam:GetRole"], [role]),
        _allow("Bucket", ["s3:ListBucket"], [arns.bucket]),
        _allow("Quotas", ["servicequotas:ListServiceQuotas"], ["*"]),
        _allow("Image", ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"], repositories),
    ]


def _allow_list(arns: _Arns, command: str, role: str) -> list[dict[str, Any]]:
    del command, role
    return [
        _allow("List", [f"sagemaker:List{noun}s" for noun in _KINDS], ["*"]),
        _allow("Tags", ["sagemaker:ListTags"], [arns.sagemaker(kind) for kind in _KINDS.values()]),
        _allow("Bucket", ["s3:ListBucket"], [arns.bucket]),
        _allow(
            "Images",
            ["ecr:DescribeRepositories", "ecr:ListTagsForResource", "ecr:ListImages"],
            [arns.name("ecr", "repository/*")],
        ),
    ]


def _allow_stop(arns: _Arns, command: str, role: str) -> list[dict[str, Any]]:
    running = {
        noun: kind for noun, kind in _KINDS.items() if noun not in ("EndpointConfig", "Model")
    }
    resources = [arns.sagemaker(kind) for kind in running.values()]
    stops = [f"sagemaker:Stop{noun}" for noun in running if noun != "Endpoint"]
    return [
        *_allow_list(arns, command, role)[:2],  # bucket and images do not run
        _allow("Look", [f"sagemaker:Describe{noun}" for noun in running], resources),
        _allow("Stop", [*stops, "sagemaker:DeleteEndpoint"], resources, _OWNED),
    ]


def _allow_delete(arns: _Arns, command: str, role: str) -> list[dict[str, Any]]:
    resources = [arns.sagemaker(kind) for kind in _KINDS.values()]
    deletions = [f"sagemaker:Delete{noun}" for noun in _KINDS if noun != "TransformJob"]
    logs = ["logs:DescribeLogStreams", "logs:DeleteLogStream", "logs:DeleteLogGroup"]
    contents = ["s3:ListBucket", "s3:ListBucketMultipartUploads"]
    return [
        *_allow_stop(arns, command, role),
        _allow("Delete", [*deletions, "sagemaker:DeleteTags"], resources, _OWNED),
        _allow("Bucket", contents, [arns.bucket]),
        _allow("Objects", ["s3:DeleteObject", "s3:AbortMultipartUpload"], [arns.objects]),
        _allow("Logs", logs, [arns.name("logs", "log-group:/aws/sagemaker/*")]),
    ]


def _allow_delete_one(arns: _Arns, command: str, role: str) -> list[dict[str, Any]]:
    return [*_allow_delete(arns, command, role), _allow_trainings()]


def _allow_clean(arns: _Arns, command: str, role: str) -> list[dict[str, Any]]:
    images = _allow_list(arns, command, role)[-1]
    deletions = ["ecr:BatchDeleteImage", "ecr:DeleteRepository"]
    return [
        *_allow_delete(arns, command, role),
        images,
        _allow("Repositories", deletions, images["Resource"], _OWNED),
        _allow("EmptyBucket", ["s3:GetBucketTagging", "s3:DeleteBucket"], [arns.bucket]),
    ]


_Maker = Callable[[_Arns, str, str], list[dict[str, Any]]]
COMMANDS: Final[Mapping[str, _Maker]] = {
    **dict.fromkeys(_JOBS, _allow_job),
    "serve": _allow_endpoint,
    "check": _allow_check,
    "ls": _allow_list,
    "stop": _allow_stop,
    "delete": _allow_delete_one,
    "clean": _allow_clean,
}
"""Makes the statements of a command's policy."""
