"""Resources that only describe, by their operations."""

from __future__ import annotations

import json
from typing import Any

import pytest

from local_test.aws.account.account import Account
from local_test.aws.process.operations import OPERATIONS
from local_test.aws.protocol import messages
from local_test.aws.protocol.messages import AwsError


def call(account: Account, operation: str, **request: Any) -> dict[str, Any]:
    """Run an operation as the server does, from the request's bytes to the answer's."""
    parsed = messages.parse("sagemaker", operation, json.dumps(request).encode())
    result = OPERATIONS[operation](account, parsed)
    return json.loads(messages.answer("sagemaker", operation, result).body or b"{}")


def refuse(account: Account, operation: str, **request: Any) -> tuple[str, str]:
    with pytest.raises(AwsError) as caught:
        call(account, operation, **request)
    return caught.value.code, caught.value.message


def names(answer: dict[str, Any], member: str, name: str) -> list[str]:
    return [item[name] for item in answer[member]]


def test_an_experiment_lives_until_its_trials_are_deleted(account: Account) -> None:
    call(account, "CreateExperiment", ExperimentName="E", Description="first")
    call(account, "UpdateExperiment", ExperimentName="E", DisplayName="shown")
    described = call(account, "DescribeExperiment", ExperimentName="E")
    assert (described["Description"], described["DisplayName"]) == ("first", "shown")
    assert refuse(account, "CreateTrial", TrialName="t", ExperimentName="x")[0] == (
        "ResourceNotFound"
    )
    call(account, "CreateTrial", TrialName="t", ExperimentName="E")
    call(account, "CreateTrialComponent", TrialComponentName="c", Parameters={})
    call(account, "AssociateTrialComponent", TrialComponentName="c", TrialName="t")
    listed = call(account, "ListTrialComponents", ExperimentName="E")
    assert names(listed, "TrialComponentSummaries", "TrialComponentName") == ["c"]
    listed = call(account, "ListTrials", TrialComponentName="c")
    assert names(listed, "TrialSummaries", "TrialName") == ["t"]
    for experiment, parents in (("E", [{"TrialName": "t", "ExperimentName": "E"}]), ("x", None)):
        parent = {"Name": "Parents.ExperimentName", "Operator": "Equals", "Value": experiment}
        wanted = {"SearchExpression": {"Filters": [parent]}}
        hits = call(account, "Search", Resource="ExperimentTrialComponent", **wanted)["Results"]
        assert [hit["TrialComponent"]["Parents"] for hit in hits] == [parents] * bool(parents)
    assert "1 trial(s)" in refuse(account, "DeleteExperiment", ExperimentName="E")[1]
    assert "1 trial component(s)" in refuse(account, "DeleteTrial", TrialName="t")[1]
    assert "belongs to t" in refuse(account, "DeleteTrialComponent", TrialComponentName="c")[1]
    call(account, "DisassociateTrialComponent", TrialComponentName="c", TrialName="t")
    call(account, "DeleteTrialComponent", TrialComponentName="c")
    call(account, "DeleteTrial", TrialName="t")
    call(account, "DeleteExperiment", ExperimentName="E")
    assert call(account, "ListExperiments")["ExperimentSummaries"] == []


def test_an_update_adds_and_removes_single_parameters(account: Account) -> None:
    parameters = {"a": {"NumberValue": 1.0}, "b": {"StringValue": "x"}}
    call(account, "CreateTrialComponent", TrialComponentName="c", Parameters=parameters)
    changes = {"Parameters": {"d": {"NumberValue": 2.0}}, "ParametersToRemove": ["a"]}
    call(account, "UpdateTrialComponent", TrialComponentName="c", **changes)
    described = call(account, "DescribeTrialComponent", TrialComponentName="c")
    assert described["Parameters"] == {"b": {"StringValue": "x"}, "d": {"NumberValue": 2.0}}


def test_lineage_is_artifacts_and_what_joins_them(account: Account) -> None:
    source = {"SourceUri": "s3://b/k"}
    made = call(account, "CreateArtifact", Source=source, ArtifactType="DataSet")
    action = call(
        account, "CreateAction", ActionName="Train", ActionType="Job", Source={"SourceUri": "j"}
    )
    ends = {"SourceArn": made["ArtifactArn"], "DestinationArn": action["ActionArn"]}
    call(account, "AddAssociation", **ends, AssociationType="ContributedTo")
    assert "associated already" in refuse(account, "AddAssociation", **ends)[1]
    [found] = call(account, "ListAssociations", SourceType="DataSet")["AssociationSummaries"]
    assert (found["DestinationName"], found["AssociationType"]) == ("Train", "ContributedTo")
    assert call(account, "ListAssociations", SourceType="Model")["AssociationSummaries"] == []
    listed = call(account, "ListArtifacts", SourceUri="s3://b/k")["ArtifactSummaries"]
    assert [item["ArtifactArn"] for item in listed] == [made["ArtifactArn"]]
    call(account, "DeleteAssociation", **ends)
    assert refuse(account, "DeleteAssociation", **ends)[0] == "ResourceNotFound"
    call(account, "DeleteArtifact", Source=source)
    code = refuse(account, "DescribeArtifact", ArtifactArn=made["ArtifactArn"])[0]
    assert code == "ResourceNotFound"


def test_each_content_of_a_model_card_is_a_version(account: Account) -> None:
    card = {"ModelCardName": "m", "ModelCardStatus": "Draft"}
    call(account, "CreateModelCard", **card, Content='{"a": 1}')
    assert refuse(account, "CreateModelCard", **card, Content="{}")[0] == "ConflictException"
    call(account, "UpdateModelCard", ModelCardName="m", Content='{"a": 2}')
    call(account, "UpdateModelCard", ModelCardName="m", ModelCardStatus="Approved")
    latest = call(account, "DescribeModelCard", ModelCardName="m")
    assert (latest["ModelCardVersion"], latest["ModelCardStatus"]) == (2, "Approved")
    first = call(account, "DescribeModelCard", ModelCardName="m", ModelCardVersion=1)
    assert (first["Content"], first["ModelCardStatus"]) == ('{"a": 1}', "Draft")
    listed = call(account, "ListModelCardVersions", ModelCardName="m")
    numbers = names(listed, "ModelCardVersionSummaryList", "ModelCardVersion")
    assert numbers == [2, 1]
    assert "JSON object" in refuse(account, "UpdateModelCard", ModelCardName="m", Content="[]")[1]


def test_a_taken_name_is_refused_and_tags_are_found_by_arn(account: Account) -> None:
    arn = call(account, "CreateExperiment", ExperimentName="Mixed")["ExperimentArn"]
    assert refuse(account, "CreateExperiment", ExperimentName="Mixed")[0] == "ValidationException"
    call(account, "AddTags", ResourceArn=arn, Tags=[{"Key": "k", "Value": "v"}])
    assert call(account, "ListTags", ResourceArn=arn)["Tags"] == [{"Key": "k", "Value": "v"}]


def test_the_policy_of_a_group_is_kept(account: Account) -> None:
    call(account, "CreateModelPackageGroup", ModelPackageGroupName="g")
    group = {"ModelPackageGroupName": "g"}
    assert (
        "Cannot find resource policy" in refuse(account, "GetModelPackageGroupPolicy", **group)[1]
    )
    call(account, "PutModelPackageGroupPolicy", **group, ResourcePolicy='{"a": 1}')
    assert call(account, "GetModelPackageGroupPolicy", **group) == {"ResourcePolicy": '{"a": 1}'}
    call(account, "DeleteModelPackageGroupPolicy", **group)
    assert refuse(account, "DeleteModelPackageGroupPolicy", **group)[0] == "ValidationException"


def test_a_batch_names_each_package_that_is_missing(account: Account) -> None:
    container = {"Image": "i", "ModelDataUrl": "s3://b/m"}
    specification = {
        "Containers": [container],
        "SupportedContentTypes": ["text/csv"],
        "SupportedResponseMIMETypes": ["text/csv"],
    }
    found = call(
        account, "CreateModelPackage", ModelPackageName="p", InferenceSpecification=specification
    )["ModelPackageArn"]
    missing = f"{found}x"
    answer = call(account, "BatchDescribeModelPackage", ModelPackageArnList=[found, missing])
    assert list(answer["ModelPackageSummaries"]) == [found]
    assert list(answer["BatchDescribeModelPackageErrorMap"]) == [missing]
