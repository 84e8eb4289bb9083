"""The metrics of endpoints in CloudWatch."""

from collections.abc import Mapping
from typing import Any, Final

from local_test.aws.account.account import Account
from local_test.aws.account.kinds import COMPONENT, ENDPOINT
from local_test.aws.account.meter import Distribution, Meter, Minute, Statistic

PUBLISH_S: Final = 5.0


def run(account: Account) -> None:
    """Publish the counts of all endpoints every few seconds until the local AWS stops.

    The alarms are evaluated each time.
    """
    while not account.is_closing.wait(PUBLISH_S):
        for endpoint in account.store.list(ENDPOINT):
            name = endpoint["EndpointName"]
            meter = account.meter(name)
            for variant in meter.variants():
                _publish(account, meter, variant, {"EndpointName": name, "VariantName": variant})
        for component in account.store.list(COMPONENT):
            name = component["InferenceComponentName"]
            meter = account.component_meter(name)
            for variant in meter.variants():
                _publish(account, meter, variant, {"InferenceComponentName": name})
        account.alarms.evaluate()


def _publish(account: Account, meter: Meter, variant: str, names: Mapping[str, str]) -> None:
    """Publish each count, and again as that of its endpoint configuration if it has one."""
    dimensions = [{"Name": name, "Value": value} for name, value in names.items()]
    for config, time_s, counts in meter.drain(variant):
        data = _make_data(time_s, counts, dimensions)
        if config:
            fleet = [*dimensions, {"Name": "EndpointConfigName", "Value": config}]
            data += _make_data(time_s, counts, fleet)
        account.publish_metrics("AWS/SageMaker", data)


def _make_data(
    time_s: float, counts: Minute, dimensions: list[dict[str, str]]
) -> list[dict[str, Any]]:
    """Return the metrics of a variant's requests; latencies are microseconds, as the service's."""
    count = counts.invocations

    def make(name: str, values: Statistic, factor: float = 1) -> dict[str, Any]:
        statistic = {
            "SampleCount": values.count,
            "Sum": values.total * factor,
            "Minimum": values.least * factor,
            "Maximum": values.most * factor,
        }
        return {
            "MetricName": name,
            "Timestamp": time_s,
            "Dimensions": dimensions,
            "StatisticValues": statistic,
        }

    def count_errors(errors: int) -> Statistic:
        return Statistic(errors, 0, min(1, errors), count)

    def make_all(name: str, values: Distribution) -> list[dict[str, Any]]:
        return [make(name, part, 1e6) for part in values.parts.values()]

    return [
        make("Invocations", Statistic(count, 1, 1, count)),
        make("Invocation4XXErrors", count_errors(counts.client_errors)),
        make("Invocation5XXErrors", count_errors(counts.server_errors)),
        *make_all("ModelLatency", counts.model_latency_s),
        *make_all("OverheadLatency", counts.overhead_s),
        *make_all("ModelSetupTime", counts.setup_s),
    ]
