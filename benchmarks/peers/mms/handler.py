# ruff: noqa: ARG002 - the signatures are the toolkit's
"""multi-model-server with the handler service of sagemaker-inference, as in AWS's containers."""

from litert import Model
from sagemaker_inference import content_types, decoder, encoder
from sagemaker_inference.default_handler_service import DefaultHandlerService
from sagemaker_inference.transformer import Transformer


class Handler:
    """The four functions."""

    def default_model_fn(self, model_dir: str, context: object = None) -> Model:
        """Load the model."""
        return Model()

    def default_input_fn(self, data: bytes, content_type: str, context: object = None) -> object:
        """Decode with the toolkit's decoder."""
        return decoder.decode(data, content_type)

    def default_predict_fn(self, data: object, model: Model, context: object = None) -> object:
        """Predict."""
        return model.predict(data)

    def default_output_fn(self, prediction: object, accept: str, context: object = None) -> object:
        """Encode with the toolkit's encoder."""
        return encoder.encode(prediction, content_types.JSON)


_service = DefaultHandlerService(transformer=Transformer(default_inference_handler=Handler()))
_service.initialized = False


def handle(data: object, context: object) -> object:
    """Be what multi-model-server calls."""
    if not _service.initialized:
        _service.initialize(context)
        _service.initialized = True
    return _service.handle(data, context) if data is not None else None
