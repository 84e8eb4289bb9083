"""LitServe as its documentation says, with batching and a worker for each core."""

import sys

import litserve
from litert import Model


class Api(litserve.LitAPI):
    """JSON in, probabilities out."""

    def setup(self, device: str) -> None:
        """Load the model."""
        del device
        self.model = Model()

    def decode_request(self, request: dict) -> list:
        """Take the only row."""
        return request["instances"][0]

    def batch(self, inputs: list) -> list:
        """Keep rows as they are."""
        return inputs

    def predict(self, rows: list) -> list:
        """Predict a batch."""
        return self.model.predict(rows).tolist()

    def unbatch(self, output: list) -> list:
        """Keep rows as they are."""
        return output

    def encode_response(self, output: list) -> dict:
        """Answer as ours does."""
        return {"outputs": [output]}


if __name__ == "__main__":
    api = Api(max_batch_size=32, batch_timeout=0.0, api_path="/invocations")
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=2, fast_queue=True)
    server.run(
        port=int(sys.argv[1]), num_api_servers=2, log_level="error", generate_client_file=False
    )
