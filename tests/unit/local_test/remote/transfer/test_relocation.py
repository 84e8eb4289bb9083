"""A local request becomes one for AWS: places, image, role and tags change, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from container.errors import UserError
from local_test.remote.transfer import uploads
from local_test.remote.transfer.relocation import Relocation
from local_test.requests import shorthand

ROLE = "arn:aws:iam::111122223333:role/mine"


def relocate(name: str = "job") -> Relocation:
    return Relocation("bucket", ROLE, "training", name, lambda image: f"registry/{image}")


def make_request(data: Path | str, **values: Any) -> dict[str, Any]:
    return shorthand.training_request(
        name="job", image="mine:1", channels={"training": str(data)}, output="out", **values
    )


def test_only_places_image_role_and_tags_change(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1")
    request = make_request(tmp_path, hyperparameters={"Image": "kept", "RoleArn": "file:///kept"})
    found = relocate()
    made = found.rewrite("CreateTrainingJob", request)

    [upload] = found.uploads.values()
    assert upload.uri.startswith("s3://bucket/byo/data/")
    assert [key.rpartition("/")[2] for key in upload.keys] == ["a.csv"]
    changed = {key for key in made if made[key] != request.get(key)}
    assert changed == {
        *("AlgorithmSpecification", "RoleArn", "OutputDataConfig", "InputDataConfig", "Tags")
    }
    assert made["AlgorithmSpecification"]["TrainingImage"] == "registry/mine:1"
    assert made["RoleArn"] == ROLE
    assert made["OutputDataConfig"] == {"S3OutputPath": "s3://bucket/byo/jobs"}
    assert found.downloads == {"byo/jobs/job/": f"file://{Path('out').absolute()}/job"}
    assert request["RoleArn"] == shorthand.ROLE  # the local one is as it was


def test_what_is_in_s3_already_and_other_roles_and_tags_stay() -> None:
    request = make_request("s3://theirs/data/")
    request |= {"RoleArn": "arn:aws:iam::1:role/theirs", "Tags": [{"Key": "team", "Value": "x"}]}
    request["OutputDataConfig"]["S3OutputPath"] = "s3://theirs/out"
    found = relocate()
    made = found.rewrite("CreateTrainingJob", request)
    assert made["InputDataConfig"] == request["InputDataConfig"]
    assert made["OutputDataConfig"] == request["OutputDataConfig"]
    assert made["RoleArn"] == request["RoleArn"]
    assert [tag["Key"] for tag in made["Tags"]] == ["team", "byo-sagemaker"]
    assert not found.uploads
    assert not found.downloads


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("CheckpointConfig", {"S3Uri": "file:///c", "LocalPath": "/opt/ml/checkpoints"}),
        (
            "InputDataConfig",
            [
                {
                    "DataSource": {
                        "S3DataSource": {"S3DataType": "ManifestFile", "S3Uri": "file:///m"}
                    }
                }
            ],
        ),
        ("TensorBoardOutputConfig", {"S3OutputPath": "file:///t"}),
    ],
)
def test_a_local_place_without_a_counterpart_is_refused(member: str, value: Any) -> None:
    request = make_request("s3://theirs/data/") | {member: value}
    with pytest.raises(UserError, match="which AWS cannot read; store it in S3"):
        relocate().rewrite("CreateTrainingJob", request)


def test_a_place_is_named_by_content(tmp_path: Path) -> None:
    for name in ("one", "two", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.csv").write_text("same")
    (tmp_path / "other" / "b.csv").write_text("more")
    one, two, other = (
        uploads.plan("bucket", f"file://{tmp_path}/{name}/") for name in ("one", "two", "other")
    )
    assert one.uri == two.uri != other.uri
    assert one.uri.endswith("/")
    file = uploads.plan("bucket", f"file://{tmp_path}/other/a.csv")
    assert [f"s3://bucket/{key}" for key in file.keys] == [file.uri]
    assert file.uri == f"{one.uri}a.csv"


def test_each_definition_of_a_tuning_job_stores_below_the_name_of_the_job(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1")
    definition = make_request(tmp_path)
    request = {
        "HyperParameterTuningJobName": "job",
        "TrainingJobDefinitions": [
            definition,
            {**definition, "OutputDataConfig": {"S3OutputPath": "file:///other/"}},
            definition,
            {**definition, "OutputDataConfig": {"S3OutputPath": "s3://theirs/out"}},
        ],
    }
    found = relocate()
    made = found.rewrite("CreateHyperParameterTuningJob", request)
    places = [item["OutputDataConfig"]["S3OutputPath"] for item in made["TrainingJobDefinitions"]]
    assert places == [
        *("s3://bucket/byo/jobs/job", "s3://bucket/byo/jobs/job/output-2"),
        *("s3://bucket/byo/jobs/job", "s3://theirs/out"),
    ]
    assert found.downloads == {
        "byo/jobs/job/": f"file://{Path('out').absolute()}",
        "byo/jobs/job/output-2/": "file:///other/",
    }
    assert {item["RoleArn"] for item in made["TrainingJobDefinitions"]} == {ROLE}
    assert len(found.uploads) == 1
