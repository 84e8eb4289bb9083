"""A user of the SDK v3 deploys a model as an inference component, scales it and deletes it.

python sdk_v3_components.py IMAGE ROLE S3_URI_OF_A_MODEL
"""

import json
import sys

from sagemaker.core import shapes
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.resource_requirements import ResourceRequirements
from sagemaker.core.resources import InferenceComponent
from sagemaker.serve.model_builder import ModelBuilder

IMAGE, ROLE, ARTIFACT = sys.argv[1:]
builder = ModelBuilder(
    image_uri=IMAGE,
    s3_model_data_url=ARTIFACT,
    role_arn=ROLE,
    instance_type="ml.m5.large",
    sagemaker_session=Session(),
)
builder.build()
endpoint = builder.deploy(
    endpoint_name="components-v3",
    inference_component_name="component-v3",
    inference_config=ResourceRequirements(requests={"memory": 256, "num_cpus": 1, "copies": 2}),
)
component = InferenceComponent.get("component-v3")
component.wait_for_status("InService", poll=1)
facts = {"copies": component.runtime_config.current_copy_count}
answer = endpoint.invoke(
    body=b"hello", content_type="text/plain", inference_component_name="component-v3"
)
facts["predict"] = json.loads(answer.body.read())["echo"]
# To zero it does not get: this version of the SDK leaves a 0 out of its request.
component.update_runtime_configs(
    desired_runtime_config=shapes.InferenceComponentRuntimeConfig(copy_count=1)
)
component.wait_for_status("InService", poll=1)
facts["scaled"] = component.refresh().runtime_config.current_copy_count
component.delete()
component.wait_for_delete(poll=1)
endpoint.delete()
endpoint.wait_for_delete(poll=1)
print()  # after the panel of the last wait
print(json.dumps(facts))
