"""Checks of what an image says about itself; they start nothing."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from container import contract, image_rules
from local_test.conformance.catalog import Verdict, judge, skip, skip_all
from local_test.conformance.subject import Sessions, Subject

IDS: Final = ("IMG-4a", "IMG-5a", "IMG-6a", "IMG-8a", "IMG-9a", "IMG-12a", "SRV-1a")
_OCI_TYPES: Final = "application/vnd.oci."
_LARGEST_BYTES: Final = 10 * 1024**3


def check_image(subject: Subject) -> Iterator[Verdict]:
    """Entry point, user, architecture, labels and size."""
    if subject.image is None:
        yield from skip_all(IDS, "a program has no image")
        return
    yield from judge_image(subject.image, is_multi_model=subject.is_multi_model)


SESSIONS: Sessions = ((IDS, check_image),)


def judge_image(image: Mapping[str, Any], *, is_multi_model: bool = False) -> Iterator[Verdict]:
    """Judge the engine's description of an image, which is to serve one model or several."""
    config = image.get("Config") or {}
    entry_point = config.get("Entrypoint") or []
    evidence = f"ENTRYPOINT {entry_point}"
    yield judge("IMG-4a", not image_rules.is_shell_form(entry_point), evidence)
    yield judge("IMG-5a", not image_rules.starts_init(entry_point), evidence)
    user = config.get("User") or ""
    yield judge("IMG-6a", image_rules.is_root(user), f"USER {user or 'root'}")
    platform = image_rules.read_platform(image)
    is_for_graviton = platform == image_rules.GRAVITON_PLATFORM
    note = ", which only Graviton instances run" if is_for_graviton else ""
    yield judge("IMG-8a", is_for_graviton or platform == image_rules.PLATFORM, platform + note)
    yield _judge_media_type(image)
    yield _judge_labels(config.get("Labels") or {}, is_multi_model=is_multi_model)
    size = int(image.get("Size") or 0)
    yield judge("SRV-1a", size <= _LARGEST_BYTES, f"{size / 1024**3:.2f} GB")


def _judge_media_type(image: Mapping[str, Any]) -> Verdict:
    """Judge what a push would send, as far as the engine says how it keeps the image.

    Docker with its containerd store describes it in `Descriptor`, Podman in `ManifestType`. A
    Docker engine without that store keeps no manifest and makes one of Docker's type at each push.
    """
    media_type = (image.get("Descriptor") or {}).get("mediaType") or image.get("ManifestType")
    if not media_type:
        return skip("IMG-9a", "the engine does not say of which type the image's manifest is")
    return judge("IMG-9a", not media_type.startswith(_OCI_TYPES), media_type)


def _judge_labels(labels: Mapping[str, str], *, is_multi_model: bool) -> Verdict:
    wrong = image_rules.find_wrong_labels(labels)
    if is_multi_model and labels.get(contract.MULTI_MODEL_LABEL) != "true":
        wrong.append(
            f"no label {contract.MULTI_MODEL_LABEL}=true: "
            "the platform refuses a multi-model endpoint of this image"
        )
    shown = [name.rsplit(".", 1)[-1] for name in image_rules.LABELS if labels.get(name) == "true"]
    found = f"labels: {', '.join(shown) or 'none'}"
    return judge("IMG-12a", not wrong, ", ".join(wrong) or found)
