"""What tests read of a running endpoint that nothing else reads."""

from __future__ import annotations

from local_test.endpoints.endpoint import Endpoint


def list_loaded_models(endpoint: Endpoint) -> dict[str, list[str]]:
    """Return the loaded targets of each multi-model server, the least recently used first."""
    return {
        place.server.name: place.cache.loaded
        for variant in endpoint.deployment.current.variants
        for replica in variant.replicas
        for place in replica.places
        if place.cache is not None
    }
