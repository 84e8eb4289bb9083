"""What Application Auto Scaling can change, as records say; nothing runs."""

from __future__ import annotations

from typing import Any

import pytest

from local_test.aws.account.account import Account
from local_test.aws.account.kinds import COMPONENT
from local_test.aws.protocol.messages import AwsError
from local_test.aws.sagemaker.hosting import live_components, scaling_policies
from local_test.aws.sagemaker.hosting.scalable import ScalableComponent, ScalableVariant, parse

COPIES = "sagemaker:inference-component:DesiredCopyCount"
INSTANCES = "sagemaker:variant:DesiredInstanceCount"


def ask(resource: str, dimension: str, namespace: str = "sagemaker") -> dict[str, Any]:
    return {"ServiceNamespace": namespace, "ResourceId": resource, "ScalableDimension": dimension}


def test_a_resource_has_the_dimension_of_its_kind() -> None:
    assert parse(ask("endpoint/e/variant/v", INSTANCES)) == ScalableVariant("e", "v")
    assert parse(ask("inference-component/c", COPIES)) == ScalableComponent("c")


@pytest.mark.parametrize(
    "request_",
    [
        ask("endpoint/e/variant/v", COPIES),
        ask("inference-component/c", INSTANCES),
        ask("endpoint/e", INSTANCES),
        ask("inference-component/c", COPIES, "ecs"),
    ],
)
def test_another_resource_is_refused(request_: dict[str, Any]) -> None:
    with pytest.raises(AwsError, match="inference-component/NAME with sagemaker:inference-comp"):
        parse(request_)


def test_copies_scale_to_zero_when_nobody_asks(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_components, "start_change", lambda *_: None)
    record = {
        "InferenceComponentName": "c",
        "InferenceComponentArn": "arn",
        "InferenceComponentStatus": "InService",
        "VariantName": "v",
        "_requests": {"specification": {}, "model": {}, "copies": 2},
        "_without_effect": [],
    }
    account.store.insert(COMPONENT, "c", record)
    component = ScalableComponent("c")
    component.check(account)
    account.component_meter("c").count("v", 200, 0.1, 0.1)
    assert (component.count(account), component.measure_load(account, 60)) == (2, 1)
    assert component.find_least(account) == 0
    wanted = scaling_policies.track(2, 0, {"TargetValue": 5.0})
    component.scale(account, wanted)
    changed = account.store.find(COMPONENT, "c")
    assert changed is not None
    requests = changed["_next_requests"]
    assert requests is not None
    assert requests["copies"] == 0
    assert component.count(account) is None  # while it changes
    with pytest.raises(AwsError, match="Inference component d does not exist"):
        ScalableComponent("d").check(account)
