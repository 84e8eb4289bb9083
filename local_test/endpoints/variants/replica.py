"""One copy of a model: its container, or the 2 to 15 containers of an instance (PIP-1)."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from container.errors import RequestError
from local_test.endpoints.invocation import HEADER_PREFIX, Answer, Stream
from local_test.endpoints.multi_model import ModelCache
from local_test.endpoints.server import Server
from local_test.endpoints.variants.sessions import Sessions
from local_test.requests import model_containers

_TARGET_CONTAINER: Final = HEADER_PREFIX + "target-container-hostname"
_TARGET_MODEL: Final = HEADER_PREFIX + "target-model"
_ONE_NEEDED: Final = (
    "this endpoint has several containers that are invoked directly, so TargetContainerHostname is "
    "required; choose one of {}"
)
_NONE_ALLOWED: Final = (
    "TargetContainerHostname is for endpoints of several containers that are invoked directly; "
    "this endpoint is not one of them, so leave it out"
)


@dataclass
class Place:
    """A container of a replica: what it runs, and the server that runs it now."""

    container: model_containers.ModelContainer
    server: Server
    cache: ModelCache | None = None
    """The models that it has loaded, if it is multi-model."""


@dataclass
class Replica:
    """The servers of one instance of a variant, or of one serverless environment."""

    name: str
    model: Mapping[str, Any]
    places: list[Place] = field(default_factory=list)
    """One for each container of the model, in their order."""
    setup_s: float = 0.0
    """How long its cold start took, in seconds, until a request has reported it."""
    config: str = ""
    """Name of the endpoint configuration that it belongs to."""
    requests: int = 0
    """How many requests it is answering."""
    sessions: Sessions = field(default_factory=Sessions)
    """The stateful sessions that it has opened."""

    @property
    def servers(self) -> list[Server]:
        """The servers, in the order of the containers."""
        return [place.server for place in self.places]

    @property
    def is_healthy(self) -> bool:
        """Whether every server is."""
        return all(server.is_healthy for server in self.servers)

    @property
    def is_direct(self) -> bool:
        """Whether requests name the container that answers them."""
        return model_containers.is_direct(self.model)

    def answer(
        self,
        body: bytes,
        headers: Mapping[str, str],
        *,
        limit_s: float | None = None,
        is_chunked: bool = False,
    ) -> Answer:
        """Pass a request to the container that it names, or through all of them.

        The output of one is the body of the next, with its content type. Accept is for the last
        one, whose answer is the caller's. An error ends the chain and names its container.

        Raises: RequestError 400 if the request names a container or model that it cannot name, 424
        if a container does not answer.
        """
        places = self._choose(headers)
        sent = dict(headers)
        answers: list[Answer] = []
        for place in places:
            is_last = place is places[-1]
            passed = {key: sent[key] for key in sent if is_last or key.lower() != "accept"}
            answer = _ask(place, body, passed, limit_s=limit_s, is_chunked=is_chunked)
            answers.append(answer)
            if answer.status >= 400 or is_last:
                break
            _check_passable(answer)
            body = answer.body
            sent = _name_type(sent, answer)
        self.sessions.note(answers[-1].headers)
        setup_s = self.setup_s
        self.setup_s = 0.0
        return replace(_combine(answers), setup_s=setup_s, config=self.config)

    def stream(self, body: bytes, headers: Mapping[str, str]) -> Stream:
        """Pass a request to the one container that answers it, and return its parts (ST-1).

        Raises: RequestError 400 if several would have to answer, or one that is multi-model.
        """
        place, *others = self._choose(headers)
        if others:
            raise RequestError(400, "an inference pipeline does not stream; use InvokeEndpoint")
        if place.cache is not None:
            raise RequestError(400, "a multi-model endpoint does not stream")
        return place.server.client.stream(body, headers)

    def _choose(self, headers: Mapping[str, str]) -> list[Place]:
        """Return the places that a request passes. Raises: RequestError 400."""
        target = headers.get(_TARGET_CONTAINER)
        if target is None and self.is_direct:
            raise RequestError(400, _ONE_NEEDED.format(self._names()))
        chosen = self.places
        if target is not None:
            if not self.is_direct:
                raise RequestError(400, _NONE_ALLOWED)
            chosen = [place for place in self.places if place.container.name == target]
            if not chosen:
                message = f"container {target!r} does not exist; choose one of {self._names()}"
                raise RequestError(400, message)
        if _TARGET_MODEL in headers and not any(place.cache for place in chosen):
            raise RequestError(400, "TargetModel is for multi-model endpoints only (MME-5)")
        return chosen

    def _names(self) -> str:
        return ", ".join(place.container.name for place in self.places)


def _ask(
    place: Place,
    body: bytes,
    headers: Mapping[str, str],
    *,
    limit_s: float | None,
    is_chunked: bool,
) -> Answer:
    """Return one container's answer, or the error with its name."""
    name = place.container.name
    try:
        if place.cache is not None:
            answer = _ask_model(place, place.cache, body, headers)
        else:
            answer = place.server.client.post(
                "/invocations", body, headers, is_chunked=is_chunked, limit_s=limit_s
            )
    except RequestError as error:
        if name and error.status == 424:
            raise RequestError(424, f"{name}: {error}") from error
        raise
    if not name:
        return answer
    findings = tuple(f"{name}: {finding}" for finding in answer.findings)
    return replace(answer, source=name, findings=findings)


def _ask_model(place: Place, cache: ModelCache, body: bytes, headers: Mapping[str, str]) -> Answer:
    """Pass a request to the model that it names, which is loaded if necessary.

    Raises: RequestError 400 if it names none, or one that does not exist.
    """
    target = headers.get(_TARGET_MODEL)
    if target is None:
        raise RequestError(400, "a multi-model endpoint needs TargetModel (MME-5)")
    client = place.server.client
    answer = client.post(cache.path_of(target), body, headers)
    if answer.status == 404:  # the container has unloaded it by itself (MME-5)
        cache.forget(target)
        answer = client.post(cache.path_of(target), body, headers)
    settings = place.container.definition.get("MultiModelConfig", {})
    if settings.get("ModelCacheSetting") == "Disabled":
        cache.unload(target)  # MME-6
    return answer


def _check_passable(answer: Answer) -> None:
    """Refuse an answer that is neither an output for the next container nor an error."""
    if answer.status >= 300:
        message = (
            f"{answer.source}: status {answer.status} is neither an output for the next container "
            "nor an error; answer with 2xx (PIP-1)"
        )
        raise RequestError(424, message)


def _name_type(headers: Mapping[str, str], answer: Answer) -> dict[str, str]:
    """Return the headers for the next container, with the content type of an answer."""
    kept = {key: value for key, value in headers.items() if key.lower() != "content-type"}
    content_type = answer.headers.get("content-type")
    if content_type:
        kept["content-type"] = content_type
    return kept


def _combine(answers: list[Answer]) -> Answer:
    """Return the last answer, with the times and findings of all."""
    *earlier, last = answers
    if not earlier:
        return last
    passed_s = sum(answer.total_s for answer in earlier)
    return replace(
        last,
        first_byte_s=passed_s + last.first_byte_s,
        total_s=passed_s + last.total_s,
        findings=tuple(finding for answer in answers for finding in answer.findings),
    )
