"""A user of the SageMaker SDK v2: its well-known calls, and what each showed, as a line of JSON.

python sdk_v2_calls.py IMAGE ROLE S3_PREFIX_OF_A_CHANNEL
"""

import contextlib
import io
import json
import sys

import sagemaker
from sagemaker.analytics import ExperimentAnalytics
from sagemaker.compute_resource_requirements import ResourceRequirements
from sagemaker.deserializers import JSONDeserializer
from sagemaker.enums import EndpointType
from sagemaker.estimator import Estimator
from sagemaker.experiments.run import Run
from sagemaker.model import Model
from sagemaker.predictor import Predictor
from sagemaker.transformer import Transformer
from sagemaker.tuner import CategoricalParameter, HyperparameterTuner

IMAGE, ROLE, CHANNEL = sys.argv[1:]
METRICS = [{"Name": "validation_accuracy", "Regex": "validation_accuracy=([0-9.]+);"}]
session = sagemaker.Session()
api = session.sagemaker_client
facts = {}


def make_estimator(**hyperparameters: object) -> Estimator:
    return Estimator(
        IMAGE, ROLE, 1, "ml.m5.large", hyperparameters=hyperparameters, metric_definitions=METRICS,
        base_job_name="calls", sagemaker_session=session,
    )  # fmt: skip


def status_of(estimator: Estimator) -> str:
    name = estimator.latest_training_job.name
    return api.describe_training_job(TrainingJobName=name)["TrainingJobStatus"]


estimator = make_estimator(epochs=3)
with contextlib.redirect_stdout(io.StringIO()) as shown:
    estimator.fit({"training": CHANNEL}, logs=True)
facts["fit shows the log"] = [epoch for epoch in range(3) if f"epoch={epoch};" in shown.getvalue()]

attached = Estimator.attach(estimator.latest_training_job.name, sagemaker_session=session)
facts["attach knows"] = [
    attached.image_uri,
    attached.hyperparameters()["epochs"],
    attached.model_data,
]
facts["metrics"] = len(attached.training_job_analytics.dataframe())

long = make_estimator(epochs=1000, epoch_s=0.2)
long.fit({"training": CHANNEL}, wait=False)
facts["fit does not wait"] = status_of(long)
long.latest_training_job.stop()
long.latest_training_job.wait(logs="None")
facts["wait after stop"] = status_of(long)

failing = make_estimator(failure="it broke on purpose")
try:
    failing.fit({"training": CHANNEL}, logs=False)
except sagemaker.exceptions.UnexpectedStatusException as error:
    facts["a failure raises"] = [error.actual_status, "it broke on purpose" in str(error)]

with Run(experiment_name="Calls", run_name="Run", sagemaker_session=session) as run:
    for step in range(12):
        run.log_metric("loss", 1 / (step + 1), step=step)
frame = ExperimentAnalytics(experiment_name="calls", sagemaker_session=session).dataframe()
facts["a run"] = [int(frame["loss - Count"][0]), float(frame["loss - Max"][0])]

predictor = estimator.deploy(1, "ml.m5.large", wait=False, deserializer=JSONDeserializer())
session.wait_for_endpoint(predictor.endpoint_name, poll=1)
facts["predict"] = predictor.predict("hello")["echo"]
first = predictor.predict("x")["model"]["hyperparameters"]["epochs"]
better = make_estimator(epochs=7)
better.fit({"training": CHANNEL}, logs=False)
model = better.create_model()
model.create(instance_type="ml.m5.large")
predictor.update_endpoint(1, "ml.m5.large", model_name=model.name, wait=False)
session.wait_for_endpoint(predictor.endpoint_name, poll=1)
facts["update"] = [first, predictor.predict("x")["model"]["hyperparameters"]["epochs"]]

transformer = estimator.transformer(1, "ml.m5.large", strategy="SingleRecord", assemble_with="Line")
transformer.transform(CHANNEL, content_type="text/plain", split_type="Line", wait=False)
transformer.wait(logs=False)
answered = sagemaker.s3.S3Downloader.read_file(
    f"{transformer.output_path}/a.csv.out", sagemaker_session=session
)
facts["transform"] = json.loads(answered.splitlines()[0])["echo"]
again = Transformer.attach(transformer.latest_transform_job.name, sagemaker_session=session)
facts["transformer attach"] = again.model_name == transformer.model_name


def make_tuner(name: str, estimator: Estimator) -> HyperparameterTuner:
    ranges = {"learning_rate": CategoricalParameter(["0.3", "0.03"])}
    return HyperparameterTuner(
        estimator,
        "validation_accuracy",
        ranges,
        METRICS,
        strategy="Grid",
        max_jobs=2,
        max_parallel_jobs=2,
        base_tuning_job_name=name,
    )


tuner = make_tuner("best", make_estimator(epochs=2))
tuner.fit({"training": CHANNEL}, include_cls_metadata=False)
facts["tune"] = [
    tuner.best_estimator().hyperparameters()["learning_rate"],
    len(tuner.analytics().dataframe()),
]
stopped = make_tuner("stopped", make_estimator(epochs=1000, epoch_s=0.2))
stopped.fit({"training": CHANNEL}, include_cls_metadata=False, wait=False)
stopped.stop_tuning_job()
session.wait_for_tuning_job(stopped.latest_tuning_job.name, poll=1)
facts["stop tuning"] = stopped.describe()["HyperParameterTuningJobStatus"]

variant = sagemaker.production_variant(instance_type="ml.m5.large", initial_instance_count=1)
session.endpoint_from_production_variants("calls-shared", [variant], role=ROLE, wait=False)
session.wait_for_endpoint("calls-shared", poll=1)
shared_model = Model(
    IMAGE, estimator.model_data, ROLE, predictor_cls=Predictor, sagemaker_session=session
)
shared = shared_model.deploy(
    1,
    "ml.m5.large",
    endpoint_name="calls-shared",
    endpoint_type=EndpointType.INFERENCE_COMPONENT_BASED,
    resources=ResourceRequirements(
        requests={"memory": 256, "num_cpus": 1, "copies": 2}, limits={"memory": 512}
    ),
    deserializer=JSONDeserializer(),
    wait=False,
)
session.wait_for_inference_component(shared.component_name, poll=1)
related, _ = shared.list_related_models()
facts["inference component"] = [
    session.is_inference_component_based_endpoint("calls-shared"),
    shared.predict("hello")["echo"],
    len(related),
]
session.update_inference_component(
    shared.component_name,
    specification={"ModelName": shared_model.name},
    runtime_config={"CopyCount": 0},
    wait=False,
)
described = session.wait_for_inference_component(shared.component_name, poll=1)
facts["scale to zero"] = described["RuntimeConfig"]["CurrentCopyCount"]
shared.delete_predictor()
session.wait_for_inference_component_deletion(shared.component_name, poll=1)
shared.delete_endpoint(delete_endpoint_config=True)
shared_model.delete_model()

predictor.delete_model()
predictor.delete_endpoint(delete_endpoint_config=True)
print()
print(json.dumps(facts))
