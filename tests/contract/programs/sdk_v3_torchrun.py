"""A user of the SDK v3 trains on two hosts by its torchrun driver.

python sdk_v3_torchrun.py IMAGE ROLE SOURCE_DIR ENVIRONMENT_AS_JSON
"""

import json
import sys

from sagemaker.core.helper.session_helper import Session
from sagemaker.core.utils.exceptions import FailedStatusError
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, Networking, SourceCode
from sagemaker.train.distributed import Torchrun

IMAGE, ROLE, SOURCE, ENVIRONMENT = sys.argv[1:]


def run(name: str, distributed: Torchrun, **hyperparameters: object) -> dict[str, str]:
    trainer = ModelTrainer(
        training_image=IMAGE,
        role=ROLE,
        base_job_name=name,
        source_code=SourceCode(source_dir=SOURCE, entry_script="ddp.py"),
        distributed=distributed,
        compute=Compute(instance_type="ml.m5.large", instance_count=2, volume_size_in_gb=10),
        # The driver has one port, 7777: each job has a network of its own.
        networking=Networking(enable_network_isolation=True),
        hyperparameters=hyperparameters,
        environment=json.loads(ENVIRONMENT),
        sagemaker_session=Session(),
    )
    try:
        trainer.train(wait=True, logs=False)
    except FailedStatusError as error:
        failed = str(error)
    else:
        failed = ""
    job = trainer._latest_training_job  # noqa: SLF001 - the SDK's only way to it
    return {"name": job.training_job_name, "failed": failed}


facts = {
    "trained": run("ddp-v3", Torchrun(), steps=3),
    "killed": run("ddp-v3-killed", Torchrun(process_count_per_node=1), kill=1),
}
print()
print(json.dumps(facts))
