"""The SDK v2's own local mode: fit, deploy, predict.

`python sdk_v2_local_mode.py IMAGE DIRECTORY PORT`.
"""

import sys
from pathlib import Path

from sagemaker.deserializers import CSVDeserializer
from sagemaker.estimator import Estimator
from sagemaker.local import LocalSession
from sagemaker.serializers import CSVSerializer

image, directory = sys.argv[1], Path(sys.argv[2])
session = LocalSession()
session.config = {
    "local": {
        "local_code": True,
        "container_root": str(directory),
        "serving_port": int(sys.argv[3]),
    }
}
estimator = Estimator(
    image,
    "arn:aws:iam::000000000000:role/sagemaker",
    instance_count=1,
    instance_type="local",
    hyperparameters={"epochs": 1},
    output_path=f"file://{directory}/output",
    sagemaker_session=session,
)
estimator.fit(
    {"training": f"file://{directory}/training", "testing": f"file://{directory}/testing"}
)
predictor = estimator.deploy(1, "local", serializer=CSVSerializer(), deserializer=CSVDeserializer())
try:
    row = (directory / "testing/rows.csv").read_text().splitlines()[0].partition(",")[2]
    [probabilities] = predictor.predict(row)
    print(f"{len(probabilities)} probabilities, {sum(map(float, probabilities)):.3f} together")
finally:
    predictor.delete_endpoint()
