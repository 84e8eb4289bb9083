"""PyTriton as documented: two instances with dynamic batching behind Triton's HTTP server."""

import sys

import numpy as np
from litert import Model
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig


def make() -> object:
    """Make one instance's function."""
    model = Model()

    @batch
    def infer(rows: np.ndarray) -> list[np.ndarray]:
        return [model.predict(rows)]

    return infer


def main() -> None:
    """Serve until stopped."""
    with Triton(
        config=TritonConfig(
            http_port=int(sys.argv[1]),
            grpc_port=int(sys.argv[1]) + 1,
            metrics_port=int(sys.argv[1]) + 2,
        )
    ) as triton:
        triton.bind(
            model_name="digits",
            infer_func=[make(), make()],
            inputs=[Tensor(name="rows", dtype=np.uint8, shape=(int(sys.argv[2]),))],
            outputs=[Tensor(name="outputs", dtype=np.float32, shape=(-1,))],
            config=ModelConfig(
                max_batch_size=64, batcher=DynamicBatcher(max_queue_delay_microseconds=0)
            ),
        )
        triton.serve()


if __name__ == "__main__":  # its instances are processes that import this file
    main()
