"""A user of the SDK v3 trains on two hosts by its MPI driver.

python sdk_v3_mpi.py IMAGE ROLE SOURCE_DIR
"""

import json
import sys

from sagemaker.core.helper.session_helper import Session
from sagemaker.core.utils.exceptions import FailedStatusError
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, SourceCode
from sagemaker.train.distributed import MPI

IMAGE, ROLE, SOURCE = sys.argv[1:]


def run(name: str, **hyperparameters: object) -> dict[str, str]:
    trainer = ModelTrainer(
        training_image=IMAGE,
        role=ROLE,
        base_job_name=name,
        source_code=SourceCode(source_dir=SOURCE, entry_script="mpi_sum.py"),
        # The driver starts as many processes in all as it allows each host; spread over the hosts.
        distributed=MPI(process_count_per_node=2, mpi_additional_options=["--map-by", "node"]),
        compute=Compute(instance_type="ml.m5.large", instance_count=2, volume_size_in_gb=10),
        hyperparameters=hyperparameters,
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


facts = {"trained": run("mpi-v3"), "raised": run("mpi-v3-raised", **{"fail-on": 1})}
print()
print(json.dumps(facts))
