"""The driver of an InferenceAmiVersion is new enough for the image's CUDA, or not, or unknown."""

from __future__ import annotations

import botocore.session
import pytest

from local_test.remote import drivers


@pytest.mark.parametrize(
    ("cuda", "ami", "expected"),
    [
        ("12.4.1", "al2-ami-sagemaker-inference-gpu-2", True),
        ("13.0.0", "al2-ami-sagemaker-inference-gpu-3-1", False),
        ("13.0.0", "al2023-ami-sagemaker-inference-gpu-4-1", True),
        ("13.0.0", None, None),
        ("13.0.0", "al2099-gpu-9", None),
        ("99.1", "al2-ami-sagemaker-inference-gpu-2", None),
        ("", None, None),
    ],
)
def test_a_driver_is_judged(cuda: str, ami: str | None, expected: bool | None) -> None:
    assert drivers.judge(cuda, ami)[0] is expected


def test_the_reason_names_what_is_possible() -> None:
    _, text = drivers.judge("13.0.0", None)
    assert text.endswith("name one of al2023-ami-sagemaker-inference-gpu-4-1 as --inference-ami")


def test_every_version_for_gpus_is_known() -> None:
    model = botocore.session.get_session().get_service_model("sagemaker")
    names = model.shape_for("ProductionVariantInferenceAmiVersion").enum
    assert set(drivers.DRIVERS) == {name for name in names if "gpu" in name}


def test_gpus_are_known_by_the_instance_type() -> None:
    found = [drivers.has_gpu(f"ml.{name}.xlarge") for name in ("g5", "p4d", "m5", "c7g", "inf2")]
    assert found == [True, True, False, False, False]
