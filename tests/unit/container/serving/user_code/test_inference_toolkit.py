"""Bodies of handlers that leave decoding to the toolkit."""

import io

import numpy as np
import pytest

from container.serving.user_code import (
    inference_toolkit,
)


def test_pickled_array_is_refused() -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(Exception, match="Object arrays cannot be loaded") as caught:
        inference_toolkit.decode(buffer.getvalue(), "application/x-npy")
    assert getattr(caught.value, "status", None) == 400
