"""A user of the SDK v2 trains on two hosts by torchrun, and asks for every other distribution.

python sdk_v2_torchrun.py IMAGE ROLE SOURCE_DIR ENVIRONMENT_AS_JSON
"""

import json
import sys

import sagemaker
from sagemaker.pytorch import PyTorch
from sagemaker.tensorflow import TensorFlow

IMAGE, ROLE, SOURCE, ENVIRONMENT = sys.argv[1:]
session = sagemaker.Session()


def make_estimator(
    distribution: dict[str, object], kind: type = PyTorch, **hyperparameters: object
) -> PyTorch:
    return kind(
        entry_point="ddp.py", source_dir=SOURCE, role=ROLE, image_uri=IMAGE, instance_count=2,
        instance_type="ml.m5.large", distribution=distribution, hyperparameters=hyperparameters,
        environment=json.loads(ENVIRONMENT), base_job_name="ddp", sagemaker_session=session,
    )  # fmt: skip


def run(
    distribution: dict[str, object], kind: type = PyTorch, **hyperparameters: object
) -> dict[str, str]:
    estimator = make_estimator(distribution, kind, **hyperparameters)
    try:
        estimator.fit(logs=False)
    except sagemaker.exceptions.UnexpectedStatusException as error:
        failed = str(error)
    else:
        failed = ""
    return {"name": estimator.latest_training_job.name, "failed": failed}


def ask(distribution: dict[str, object], instance_type: str = "ml.m5.large") -> dict[str, object]:
    """Return the hyperparameters in which the SDK asks for a distribution."""
    estimator = TensorFlow(
        entry_point="ddp.py", source_dir=SOURCE, role=ROLE, image_uri=IMAGE, instance_count=2,
        instance_type=instance_type, sagemaker_session=session,
    )  # fmt: skip
    asked = estimator._distribution_configuration(distribution)  # noqa: SLF001 - what it sends
    return {name: json.dumps(value) for name, value in asked.items()}


torchrun = {"torch_distributed": {"enabled": True}}
model_parallel = {"modelparallel": {"enabled": True, "parameters": {"partitions": 2}}}
facts = {
    "trained": run(torchrun, steps=3),
    "killed": run(torchrun, kill=1),
    "raised": run(torchrun, **{"raise-on": 1}),
    "refused": run({"parameter_server": {"enabled": True}}, TensorFlow),
    "asked": {
        "SMDDP": ask({"smdistributed": {"dataparallel": {"enabled": True}}}, "ml.p3.16xlarge"),
        "parameter servers": ask({"parameter_server": {"enabled": True}}),
        "PyTorch/XLA": ask({"pytorchxla": {"enabled": True}}),
        "SMP": ask({"smdistributed": model_parallel, "mpi": {"enabled": True}}),
        "mp_parameters": ask({"smdistributed": model_parallel}),
    },
}
print()
print(json.dumps(facts))
