"""A user of the SDK v2 serves on demand, through a chain of models, and asynchronously.

python sdk_v2_hosting.py IMAGE ROLE S3_URI_OF_A_MODEL S3_URI_OF_ANOTHER TOPIC
"""

import json
import sys
import time

import sagemaker
from sagemaker.async_inference import (
    AsyncInferenceConfig,
    AsyncInferenceResponse,
    WaiterConfig,
)
from sagemaker.deserializers import JSONDeserializer, StringDeserializer
from sagemaker.exceptions import AsyncInferenceModelError, ObjectNotExistedError
from sagemaker.model import Model
from sagemaker.pipeline import PipelineModel
from sagemaker.predictor import Predictor
from sagemaker.predictor_async import AsyncPredictor
from sagemaker.serializers import StringSerializer
from sagemaker.serverless import ServerlessInferenceConfig

IMAGE, ROLE, FIRST, SECOND, TOPIC = sys.argv[1:]
session = sagemaker.Session()
api = session.sagemaker_client
OUT = f"s3://{session.default_bucket()}/hosting-v2"
facts = {}


def make_model(data: str) -> Model:
    return Model(IMAGE, data, ROLE, sagemaker_session=session)


def make_predictor(name: str) -> Predictor:
    return Predictor(name, session, StringSerializer(), JSONDeserializer())


def delete(name: str, model: Model | PipelineModel) -> None:
    make_predictor(name).delete_endpoint(delete_endpoint_config=True)
    model.delete_model()


model = make_model(FIRST)
model.deploy(
    serverless_inference_config=ServerlessInferenceConfig(
        memory_size_in_mb=1024, max_concurrency=2
    ),
    endpoint_name="on-demand-v2",
    wait=False,
)
session.wait_for_endpoint("on-demand-v2", poll=1)
(variant,) = api.describe_endpoint(EndpointName="on-demand-v2")["ProductionVariants"]
facts["serverless"] = [
    variant["CurrentServerlessConfig"]["MemorySizeInMB"],
    make_predictor("on-demand-v2").predict("hello")["echo"],
]
delete("on-demand-v2", model)

chain = PipelineModel([make_model(FIRST), make_model(SECOND)], ROLE, sagemaker_session=session)
chain.deploy(1, "ml.m5.large", endpoint_name="chain-v2", wait=False)
session.wait_for_endpoint("chain-v2", poll=1)
last = make_predictor("chain-v2").predict("hello")
first = json.loads(last["echo"])
facts["pipeline"] = [first["echo"], first["model"]["name"], last["model"]["name"]]
session.upload_string_as_file_body("row", session.default_bucket(), "hosting-v2/in/a.txt")
transformer = chain.transformer(1, "ml.m5.large", output_path=f"{OUT}/transformed")
transformer.transform(f"{OUT}/in/", content_type="text/plain", wait=False)
transformer.wait(logs=False)
stored = sagemaker.s3.S3Downloader.read_file(
    f"{OUT}/transformed/a.txt.out", sagemaker_session=session
)
facts["pipeline transform"] = json.loads(json.loads(stored)["echo"])["echo"]
delete("chain-v2", chain)

model = make_model(FIRST)
topics = {"SuccessTopic": TOPIC, "ErrorTopic": TOPIC}
model.deploy(
    1,
    "ml.m5.large",
    endpoint_name="async-v2",
    async_inference_config=AsyncInferenceConfig(
        output_path=f"{OUT}/async",
        failure_path=f"{OUT}/failures",
        max_concurrent_invocations_per_instance=2,
        notification_config=topics,
    ),
    wait=False,
)
session.wait_for_endpoint("async-v2", poll=1)
predictor = AsyncPredictor(make_predictor("async-v2"), name="async-v2")
often = WaiterConfig(max_attempts=60, delay=1)  # its threads end no earlier
facts["async"] = predictor.predict("hello", waiter_config=often)["echo"]


def poll(response: AsyncInferenceResponse) -> object:
    """Ask for a result, without the threads of the waiter, until there is one."""
    while True:
        try:
            return response.get_result()
        except ObjectNotExistedError:
            time.sleep(0.2)


facts["async later"] = poll(predictor.predict_async("later", inference_id="later"))["echo"]
predictor.deserializer = StringDeserializer()  # what failed answers in words
try:
    poll(predictor.predict_async("fail"))
except AsyncInferenceModelError as error:
    facts["async failure"] = "it broke" in str(error)
delete("async-v2", model)
print()
print(json.dumps(facts))
