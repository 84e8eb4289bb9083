"""What Application Auto Scaling can change: variants of endpoints, and inference components."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from local_test.aws.account.account import Account
from local_test.aws.account.kinds import COMPONENT, ENDPOINT
from local_test.aws.protocol.messages import reject
from local_test.aws.sagemaker import endpoint_operations
from local_test.aws.sagemaker.hosting import backlogs, component_operations

_VARIANT: Final = re.compile(r"endpoint/([^/]+)/variant/([^/]+)")
_COMPONENT: Final = re.compile(r"inference-component/([^/]+)")


@dataclass(frozen=True)
class ScalableVariant:
    """A variant of an endpoint."""

    dimension: ClassVar[str] = "sagemaker:variant:DesiredInstanceCount"
    noun: ClassVar[str] = "instance"
    endpoint: str
    variant: str

    def check(self, account: Account) -> None:
        """Refuse one that does not exist or is serverless. Raises: AwsError."""
        found = self._find(account)
        if found is None:
            reject(f"Endpoint {self.endpoint} with variant {self.variant} does not exist")
        if "ServerlessConfig" in found:
            reject(
                f"endpoint/{self.endpoint}/variant/{self.variant} is serverless; it has no "
                "instances to scale"
            )

    def _find(self, account: Account) -> dict[str, Any] | None:
        """Return its entry in the configuration of its endpoint."""
        record = account.store.find(ENDPOINT, self.endpoint)
        for item in record["_requests"]["config"]["ProductionVariants"] if record else ():
            if item["VariantName"] == self.variant:
                found: dict[str, Any] = item
                return found
        return None

    def count(self, account: Account) -> int | None:
        """Return how many instances it has; None while that cannot be changed."""
        record = account.store.find(ENDPOINT, self.endpoint)
        found = self._find(account)
        if record is None or found is None or record["EndpointStatus"] != "InService":
            return None
        return int(found.get("InitialInstanceCount", 1))

    def _is_asynchronous(self, account: Account) -> bool:
        return backlogs.find_config(account.store.find(ENDPOINT, self.endpoint)) is not None

    def find_least(self, account: Account) -> int:
        """Return the lowest MinCapacity."""
        return int(not self._is_asynchronous(account))

    def find_metric(self, account: Account) -> dict[str, Any]:
        """Return how a policy names the one metric that it can track."""
        if not self._is_asynchronous(account):
            return _name_predefined("SageMakerVariantInvocationsPerInstance")
        metric = {
            "MetricName": backlogs.PER_INSTANCE,
            "Namespace": "AWS/SageMaker",
            "Dimensions": [{"Name": "EndpointName", "Value": self.endpoint}],
            "Statistic": "Average",
        }
        return {"CustomizedMetricSpecification": metric}

    def measure_load(self, account: Account, window_s: int) -> float | None:
        """Return its requests of the last `window_s` seconds, or its mean backlog in that time.

        The backlog is None until it was measured for so long.
        """
        meter = account.meter(self.endpoint)
        if not self._is_asynchronous(account):
            return meter.count_recent(self.variant, window_s)
        found = backlogs.measure(account, self.endpoint)
        if not found:
            return None
        return meter.observe(found["ApproximateBacklogSize"], window_s)

    def scale(self, account: Account, wanted: int) -> None:
        """Begin to change its instance count. Raises: AwsError if that is not possible now."""
        desired = {"VariantName": self.variant, "DesiredInstanceCount": wanted}
        request = {"EndpointName": self.endpoint, "DesiredWeightsAndCapacities": [desired]}
        endpoint_operations.update_weights_and_capacities(account, request)


@dataclass(frozen=True)
class ScalableComponent:
    """An inference component (IC-1)."""

    dimension: ClassVar[str] = "sagemaker:inference-component:DesiredCopyCount"
    noun: ClassVar[str] = "copy"
    name: str

    def check(self, account: Account) -> None:
        """Refuse one that does not exist."""
        if account.store.find(COMPONENT, self.name) is None:
            reject(f"Inference component {self.name} does not exist")

    def count(self, account: Account) -> int | None:
        """Return how many copies it has."""
        record = account.store.find(COMPONENT, self.name)
        if record is None or record["InferenceComponentStatus"] != "InService":
            return None
        return record["_requests"]["copies"]

    def find_least(self, _: Account) -> int:
        """Return 0."""
        return 0

    def find_metric(self, _: Account) -> dict[str, Any]:
        """Return how a policy names what it tracks."""
        return _name_predefined("SageMakerInferenceComponentInvocationsPerCopy")

    def measure_load(self, account: Account, window_s: int) -> float | None:
        """Return its requests."""
        record = account.store.find(COMPONENT, self.name)
        meter = account.component_meter(self.name)
        return meter.count_recent(record["VariantName"], window_s) if record else 0

    def scale(self, account: Account, wanted: int) -> None:
        """Change its copy count."""
        desired = {"CopyCount": wanted}
        request = {"InferenceComponentName": self.name, "DesiredRuntimeConfig": desired}
        component_operations.update_runtime_config(account, request)


def _name_predefined(metric: str) -> dict[str, Any]:
    return {"PredefinedMetricSpecification": {"PredefinedMetricType": metric}}


Scalable = ScalableVariant | ScalableComponent
"""Something whose count follows its load."""


def parse(request: Mapping[str, Any]) -> Scalable:
    """Return what a request of Application Auto Scaling is about.

    Raises: AwsError for what is not emulated.
    """
    resource = request["ResourceId"]
    found: Scalable | None = None
    if match := _VARIANT.fullmatch(resource):
        found = ScalableVariant(*match.groups())
    elif match := _COMPONENT.fullmatch(resource):
        found = ScalableComponent(match.group(1))
    is_emulated = request["ServiceNamespace"] == "sagemaker" and found is not None
    if found is None or not is_emulated or request["ScalableDimension"] != found.dimension:
        reject(
            "Unsupported service namespace, resource type or scalable dimension; the local AWS "
            "takes namespace sagemaker and "
            f"endpoint/NAME/variant/NAME with {ScalableVariant.dimension}, or "
            f"inference-component/NAME with {ScalableComponent.dimension}"
        )
    return found
