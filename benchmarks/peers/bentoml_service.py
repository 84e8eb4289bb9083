"""BentoML as its documentation says, with a worker for each core."""

import bentoml
from litert import Model


@bentoml.service(workers=2, metrics={"enabled": False}, logging={"access": {"enabled": False}})
class Digits:
    """JSON in, probabilities out."""

    def __init__(self) -> None:
        """Load the model."""
        self.model = Model()

    @bentoml.api(route="/invocations")
    def invocations(self, instances: list[list[int]]) -> dict:
        """Predict."""
        return {"outputs": self.model.predict(instances).tolist()}
