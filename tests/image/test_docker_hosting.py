"""Deployment guardrails, components and the SDKs: tests of programs, run again with containers."""

from __future__ import annotations

from collections.abc import Iterator

import docker
import pytest

from tests.contract.aws import (
    test_components,
    test_endpoints,
    test_pipelines,
    test_rollouts,
    test_sdk_hosting,
    test_variants,
)
from tests.contract.aws.client import LocalAws


@pytest.fixture(scope="module")
def aws(user_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    local = LocalAws(tmp_path_factory.mktemp("docker-aws"))
    local.image = user_image
    with local.running(program=None):
        local.s3.put_object(Bucket=local.bucket, Key="data/a.csv", Body=b"1,2\n")
        yield local


@pytest.fixture
def own_aws(aws: LocalAws) -> LocalAws:
    return aws


configs = test_rollouts.configs
alarm = test_rollouts.alarm
guarded = test_rollouts.guarded
endpoint = test_components.endpoint
test_a_canary_in_containers = (
    test_rollouts.test_an_alarm_that_is_set_rolls_a_canary_back_and_a_retained_one_succeeds
)
test_a_rolling_update_in_containers = test_rollouts.test_linear_and_rolling_updates_lose_no_request
test_a_bad_fleet_in_containers = (
    test_rollouts.test_a_new_fleet_that_does_not_start_leaves_the_old_one
)
test_a_chain_of_containers = test_variants.test_a_pipeline_answers_requests_and_transforms
test_a_direct_endpoint_of_containers = (
    test_variants.test_a_request_names_the_container_of_a_direct_endpoint
)
test_a_shadow_in_containers = test_variants.test_a_shadow_variant_is_described_and_metered
containers = test_variants.containers
test_async_in_containers = test_endpoints.test_an_asynchronous_request_answers_in_s3
test_a_failed_pipeline_in_containers = (
    test_pipelines.test_a_failed_execution_runs_again_from_where_it_failed
)
test_the_sdk_v2_in_containers = (
    test_sdk_hosting.test_the_sdk_v2_serves_on_demand_through_a_chain_and_asynchronously
)
test_the_sdk_v3_in_containers = (
    test_sdk_hosting.test_the_sdk_v3_serves_and_replaces_versions_in_each_way
)
test_a_stopped_pipeline_in_containers = (
    test_pipelines.test_a_stop_reaches_the_jobs_and_only_some_run_at_once
)
test_components_in_containers = test_components.test_two_models_share_an_endpoint
test_copies_in_containers = test_components.test_copies_come_and_go_down_to_none


def test_a_component_limits_the_memory_of_its_container(aws: LocalAws, endpoint: str) -> None:
    needs = {"MinMemoryRequiredInMb": 128, "MaxMemoryRequiredInMb": 256}
    test_components.make_component(
        aws, "limited", endpoint, ModelName="small", ComputeResourceRequirements=needs
    )
    client = docker.from_env()
    limits = [
        container.attrs["HostConfig"]["Memory"]
        for container in client.containers.list(filters={"label": "byo.local-test"})
        if str(aws.directory) in str(container.attrs["Mounts"])
    ]
    client.close()
    assert limits == [256 * 1024**2]
    test_components.delete_component(aws, "limited")
