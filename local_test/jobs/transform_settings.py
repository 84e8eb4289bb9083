"""How a transform job's objects become requests: sizes, strategy, time limits (BT-2 to BT-4)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from container import contract
from container.errors import UserError

_MEGABYTE: Final = 1024**2
_STRATEGIES: Final = {"MULTI_RECORD": "MultiRecord", "SINGLE_RECORD": "SingleRecord"}
_DEFAULTS: Final = {
    "MaxConcurrentTransforms": 1,
    "MaxPayloadInMB": 6,
    "BatchStrategy": "MULTI_RECORD",
}
_PRODUCT_LIMIT_MB: Final = 100


@dataclass(frozen=True)
class Settings:
    """The request's values, else the container's, else the defaults (BT-3)."""

    concurrency: int = 1
    strategy: str = "MultiRecord"
    payload_megabytes: int = 6
    timeout_s: float = 600.0
    retries: int = 3

    @property
    def payload_bytes(self) -> float:
        """The largest body; for 0 there is no limit, and the body is sent in chunks (BT-6)."""
        return self.payload_megabytes * _MEGABYTE or float("inf")


def batch_environment(request: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables of a transform container: `SAGEMAKER_BATCH`, and what is set (BT-2)."""
    environment = {**request.get("Environment", {}), contract.BATCH_VARIABLE: "true"}
    if "MaxPayloadInMB" in request:
        environment[contract.MAX_PAYLOAD_VARIABLE] = str(request["MaxPayloadInMB"])
    if "BatchStrategy" in request:
        environment[contract.BATCH_STRATEGY_VARIABLE] = spell_strategy(request["BatchStrategy"])
    if "MaxConcurrentTransforms" in request:
        concurrency = str(request["MaxConcurrentTransforms"])
        environment[contract.MAX_CONCURRENT_TRANSFORMS_VARIABLE] = concurrency
    return environment


def spell_strategy(strategy: str) -> str:
    """Return the container's spelling of a strategy of the API (BT-4)."""
    return next(spelling for spelling, name in _STRATEGIES.items() if name == strategy)


def choose_settings(request: Mapping[str, Any], parameters: Mapping[str, Any]) -> Settings:
    """Take each value from the request, else from the container, else from the defaults (BT-3).

    Raises: UserError if a value of the container is invalid, or the product exceeds 100 MB (BT-11).
    """
    _check_parameters(parameters)
    client = request.get("ModelClientConfig", {})
    asked = {**_DEFAULTS, **parameters}
    concurrency = request.get("MaxConcurrentTransforms") or asked["MaxConcurrentTransforms"]
    settings = Settings(
        concurrency=max(1, concurrency),
        strategy=request.get("BatchStrategy") or _STRATEGIES[asked["BatchStrategy"]],
        payload_megabytes=request.get("MaxPayloadInMB", asked["MaxPayloadInMB"]),
        timeout_s=client.get("InvocationsTimeoutInSeconds", Settings.timeout_s),
        retries=client.get("InvocationsMaxRetries", Settings.retries),
    )
    if settings.concurrency * settings.payload_megabytes > _PRODUCT_LIMIT_MB:
        raise UserError(
            f"MaxConcurrentTransforms {settings.concurrency} times MaxPayloadInMB "
            f"{settings.payload_megabytes} is more than {_PRODUCT_LIMIT_MB} (BT-11)"
        )
    return settings


def _check_parameters(parameters: Mapping[str, Any]) -> None:
    wrong = []
    for name in ("MaxConcurrentTransforms", "MaxPayloadInMB"):
        value = parameters.get(name, 1)
        if type(value) is not int or value < 0:
            wrong.append(f"{name} must be a whole number, found {value!r}")
    strategy = parameters.get("BatchStrategy", "MULTI_RECORD")
    if strategy not in _STRATEGIES:
        wrong.append(f"BatchStrategy must be {' or '.join(_STRATEGIES)}, found {strategy!r}")
    if wrong:
        raise UserError.from_faults(
            "the answer to GET /execution-parameters is invalid (BT-4)", wrong
        )
