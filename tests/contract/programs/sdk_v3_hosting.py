"""A user of the SDK v3 serves in each way that needs a choice, and replaces a version in each way.

python sdk_v3_hosting.py IMAGE ROLE S3_URI_OF_A_MODEL S3_URI_OF_ANOTHER TOPIC
"""

import json
import sys
import time

import boto3
from sagemaker.core import shapes
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.inference_config import ServerlessInferenceConfig
from sagemaker.core.resources import Endpoint, EndpointConfig, Model
from sagemaker.serve.model_builder import ModelBuilder

IMAGE, ROLE, FIRST, SECOND, TOPIC = sys.argv[1:]
OUT = f"s3://{FIRST.split('/')[2]}/hosting-v3"
ALARM = "hosting-v3"
facts = {}


def make_container(data: str, name: str) -> shapes.ContainerDefinition:
    return shapes.ContainerDefinition(image=IMAGE, model_data_url=data, container_hostname=name)


def make_variant(model: str, count: int = 1) -> shapes.ProductionVariant:
    return shapes.ProductionVariant(
        variant_name="one",
        model_name=model,
        instance_type="ml.m5.large",
        initial_instance_count=count,
        initial_variant_weight=1.0,
    )


def make_config(name: str, variant: shapes.ProductionVariant, **members: object) -> None:
    EndpointConfig.create(endpoint_config_name=name, production_variants=[variant], **members)


def start(name: str, config: str) -> Endpoint:
    endpoint = Endpoint.create(endpoint_name=name, endpoint_config_name=config)
    endpoint.wait_for_status("InService", poll=1)
    return endpoint


def ask(endpoint: Endpoint, body: bytes = b"hello", **members: str) -> dict[str, object]:
    answer = endpoint.invoke(body=body, content_type="text/plain", **members)
    return json.loads(answer.body.read())


def end(endpoint: Endpoint) -> None:
    endpoint.delete()
    endpoint.wait_for_delete(poll=1)


builder = ModelBuilder(
    image_uri=IMAGE, s3_model_data_url=FIRST, role_arn=ROLE, sagemaker_session=Session()
)
builder.build(model_name="on-demand-v3")
endpoint = builder.deploy(
    endpoint_name="on-demand-v3",
    inference_config=ServerlessInferenceConfig(memory_size_in_mb=1024, max_concurrency=2),
)
serverless = endpoint.refresh().production_variants[0].current_serverless_config
facts["serverless"] = [serverless.memory_size_in_mb, ask(endpoint)["echo"]]
end(endpoint)

for name, data in (("first", FIRST), ("second", SECOND)):
    Model.create(
        model_name=f"{name}-v3",
        primary_container=shapes.ContainerDefinition(image=IMAGE, model_data_url=data),
        execution_role_arn=ROLE,
    )
for mode in ("Direct", "Serial"):
    name = f"{mode.lower()}-v3"
    Model.create(
        model_name=name,
        containers=[make_container(FIRST, "first"), make_container(SECOND, "second")],
        inference_execution_config=shapes.InferenceExecutionConfig(mode=mode),
        execution_role_arn=ROLE,
    )
    make_config(name, make_variant(name))
endpoint = start("direct-v3", "direct-v3")
facts["direct"] = [
    ask(endpoint, target_container_hostname=name)["model"]["name"] for name in ("second", "first")
]
end(endpoint)
endpoint = start("serial-v3", "serial-v3")
last = ask(endpoint)
facts["pipeline"] = [json.loads(last["echo"])["model"]["name"], last["model"]["name"]]
end(endpoint)

shadow = make_variant("second-v3")
shadow.variant_name = "shadow"
make_config("shadow-v3", make_variant("first-v3"), shadow_production_variants=[shadow])
endpoint = start("shadow-v3", "shadow-v3")
answers = {ask(endpoint)["model"]["name"] for _ in range(3)}
shown = endpoint.refresh().shadow_production_variants[0]
facts["shadow"] = [*answers, shown.variant_name, shown.current_instance_count]
end(endpoint)

notified = shapes.AsyncInferenceNotificationConfig(success_topic=TOPIC, error_topic=TOPIC)
output = shapes.AsyncInferenceOutputConfig(
    s3_output_path=OUT, s3_failure_path=f"{OUT}/failures", notification_config=notified
)
make_config(
    "async-v3",
    make_variant("first-v3"),
    async_inference_config=shapes.AsyncInferenceConfig(output_config=output),
)
endpoint = start("async-v3", "async-v3")
s3 = boto3.client("s3")
bucket = FIRST.split("/")[2]
s3.put_object(Bucket=bucket, Key="hosting-v3/in", Body=b"hello")
receipt = endpoint.invoke_async(input_location=f"{OUT}/in", content_type="text/plain")
place = {"Bucket": bucket, "Key": receipt.output_location.removeprefix(f"s3://{bucket}/")}
s3.get_waiter("object_exists").wait(**place, WaiterConfig={"Delay": 1, "MaxAttempts": 300})
facts["async"] = json.loads(s3.get_object(**place)["Body"].read())["echo"]
end(endpoint)

half = shapes.CapacitySize(type="CAPACITY_PERCENT", value=50)
for name in ("first-v3", "second-v3"):
    make_config(name, make_variant(name, 2))
boto3.client("cloudwatch").put_metric_alarm(
    AlarmName=ALARM,
    Namespace="AWS/SageMaker",
    MetricName="Invocation4XXErrors",
    Dimensions=[
        {"Name": "EndpointName", "Value": "guarded-v3"},
        {"Name": "VariantName", "Value": "one"},
        {"Name": "EndpointConfigName", "Value": "second-v3"},
    ],
    Statistic="Sum",
    Period=60,
    EvaluationPeriods=1,
    Threshold=1,
    ComparisonOperator="GreaterThanOrEqualToThreshold",
    TreatMissingData="notBreaching",
)


def shift(wait_s: int, kind: str, **size: shapes.CapacitySize) -> shapes.DeploymentConfig:
    routing = shapes.TrafficRoutingConfig(type=kind, wait_interval_in_seconds=wait_s, **size)
    policy = shapes.BlueGreenUpdatePolicy(traffic_routing_configuration=routing)
    return guard(blue_green_update_policy=policy)


def guard(**policy: object) -> shapes.DeploymentConfig:
    alarms = shapes.AutoRollbackConfig(alarms=[shapes.Alarm(alarm_name=ALARM)])
    return shapes.DeploymentConfig(auto_rollback_configuration=alarms, **policy)


def update(config: str, deployment: shapes.DeploymentConfig) -> None:
    endpoint.endpoint_config_name = config
    endpoint.update(deployment_config=deployment)


endpoint = start("guarded-v3", "first-v3")
rolling = shapes.RollingUpdatePolicy(maximum_batch_size=half, wait_interval_in_seconds=1)
for kind, config, deployment in (
    ("canary", "second-v3", shift(1, "CANARY", canary_size=half)),
    ("linear", "first-v3", shift(1, "LINEAR", linear_step_size=half)),
    ("rolling", "second-v3", guard(rolling_update_policy=rolling)),
    ("at once", "first-v3", shift(1, "ALL_AT_ONCE")),
):
    update(config, deployment)
    endpoint.wait_for_status("InService", poll=1)
    facts[kind] = [endpoint.endpoint_config_name, ask(endpoint)["model"]["name"]]

update("second-v3", shift(3000, "CANARY", canary_size=half))
while endpoint.refresh().endpoint_status == "Updating":
    try:
        ask(endpoint, b"refuse")
    except Exception as error:  # what the alarm counts  # noqa: BLE001 - of any class of the SDK
        facts["refused"] = type(error).__name__
    time.sleep(0.2)
reason = str(endpoint.failure_reason)
facts["rollback"] = [endpoint.endpoint_config_name, f"ALARM state: {ALARM}" in reason]
end(endpoint)
print()  # after the panel of the last wait
print(json.dumps(facts))
