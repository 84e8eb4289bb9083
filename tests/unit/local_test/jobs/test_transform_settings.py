"""Where a transform job's settings come from."""

from __future__ import annotations

import pytest

from container.errors import UserError
from local_test.jobs.transform_settings import Settings, batch_environment, choose_settings
from local_test.requests import shorthand


def test_execution_parameters_are_checked() -> None:
    request = shorthand.transform_request(
        name="t", model_name="m", data="s3://b/x", output="s3://b/o"
    )

    assert choose_settings(request, {}) == Settings(1, "MultiRecord", 6, 600.0, 3)  # BT-3
    asked = choose_settings(
        {**request, "MaxPayloadInMB": 0, "BatchStrategy": "SingleRecord"}, {"MaxPayloadInMB": 9}
    )
    assert (asked.payload_megabytes, asked.strategy) == (0, "SingleRecord")
    for wrong in (
        {"BatchStrategy": "MultiRecord"},
        {"MaxPayloadInMB": "6"},
        {"MaxConcurrentTransforms": 50},
    ):
        with pytest.raises(UserError, match="BT-"):
            choose_settings(request, wrong)


def test_a_container_sees_what_the_request_sets() -> None:
    request = {"MaxPayloadInMB": 3, "BatchStrategy": "SingleRecord", "Environment": {"A": "1"}}

    assert batch_environment(request) == {  # BT-2, BT-4
        "A": "1",
        "SAGEMAKER_BATCH": "true",
        "SAGEMAKER_MAX_PAYLOAD_IN_MB": "3",
        "SAGEMAKER_BATCH_STRATEGY": "SINGLE_RECORD",
    }
