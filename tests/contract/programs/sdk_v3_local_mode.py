"""The SDK v3's own local mode with an image: train. `python sdk_v3_local_mode.py IMAGE DIRECTORY`.

Without source code this mode, unlike the platform, starts an image without the word `train`: so the
command is named.
"""

import sys
from pathlib import Path

from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData, SourceCode
from sagemaker.train.model_trainer import Mode

image, directory = sys.argv[1], Path(sys.argv[2])
trainer = ModelTrainer(
    training_mode=Mode.LOCAL_CONTAINER,
    training_image=image,
    source_code=SourceCode(command="python -m container train"),
    role="arn:aws:iam::000000000000:role/sagemaker",
    compute=Compute(instance_type="local_cpu", instance_count=1),
    hyperparameters={"epochs": 1},
    local_container_root=str(directory),
)
channels = [
    InputData(channel_name=name, data_source=str(directory / name))
    for name in ("training", "testing")
]
trainer.train(input_data_config=channels, wait=True)
