"""What SageMaker expects of an image's configuration; used by `doctor` and by `local_test conform`.

Pure: each rule judges a part of what `docker image inspect` prints.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from container import contract

PLATFORM: Final = "linux/amd64"
"""What hosting and training run, but for Graviton instances (IMG-8)."""
GRAVITON_PLATFORM: Final = "linux/arm64"
LABELS: Final = (
    contract.MULTI_MODEL_LABEL,
    contract.BIND_TO_PORT_LABEL,
    contract.BIDIRECTIONAL_LABEL,
)
_SHELLS: Final = ("sh", "bash", "dash", "ash")
_INITS: Final = ("tini", "dumb-init", "docker-init", "catatonit")


def is_shell_form(entry_point: Sequence[str]) -> bool:
    """Return whether the entry point starts a shell, which does not forward SIGTERM (IMG-4)."""
    return len(entry_point) > 1 and _name(entry_point[0]) in _SHELLS and entry_point[1] == "-c"


def starts_init(entry_point: Sequence[str]) -> bool:
    """Return whether it starts an init, which is confused by `train` and `serve` (IMG-5)."""
    return bool(entry_point) and _name(entry_point[0]) in _INITS


def is_root(user: str) -> bool:
    """Return whether a `USER` of an image is root, as hosting expects (IMG-6)."""
    return user.partition(":")[0] in ("", "0", "root")


def read_platform(described: Mapping[str, Any]) -> str:
    """Read what an image is built for, such as `linux/amd64`."""
    return f"{described.get('Os')}/{described.get('Architecture')}"


def find_wrong_labels(labels: Mapping[str, str]) -> list[str]:
    """Return the capability labels whose value is neither `true` nor `false` (IMG-12)."""
    return [
        f"{name}={labels[name]}"
        for name in LABELS
        if labels.get(name, "true") not in ("true", "false")
    ]


def _name(path: str) -> str:
    return path.rpartition("/")[2]
