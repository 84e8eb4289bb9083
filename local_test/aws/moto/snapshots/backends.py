"""moto's backends, one for each service and region, as bytes and back.

What has no bytes is replaced: a lock by a new one, another backend by its name.
"""

import collections
import copy
import copyreg
import functools
import importlib
import io
import pickle
import re
import sys
import threading
import weakref
from collections.abc import Mapping
from typing import Any, Final, cast

from moto.core.base_backend import BackendDict, BaseBackend

from local_test.aws.moto.snapshots import bucket_settings

_ARN: Final = re.compile(rb"arn:aws[a-z-]*:[\w:/.+=,@-]+")
_LOCKS: Final = (type(threading.RLock()), type(threading.Lock()))
_TRIES: Final = 20  # another request may change what is read
_S3: Final = "moto.s3.models"
_LEFT_OUT: Final = ("metric_data", "paged_metric_data")  # of CloudWatch, as they grow without end
_DOCKER: Final = "moto.utilities.docker_utilities"


def name(backend: BaseBackend) -> str:
    """Return the name by which `find` returns the same backend in another process."""
    kind = type(backend)
    return f"{kind.__module__}:{kind.__name__}:{backend.account_id}:{backend.region_name}"


def find(named: str) -> BaseBackend:
    """Return a backend, made if this process has none.

    Raises: LookupError, ImportError if the installed moto does not have it.
    """
    module_name, kind, account, region = named.split(":")
    for item in vars(importlib.import_module(module_name)).values():
        if isinstance(item, BackendDict) and item.backend.__name__ == kind:
            return cast("BaseBackend", item[account][region])
    raise LookupError(f"moto has no {named}")


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        """Say how to make an object again that pickle cannot write."""
        if isinstance(value, BaseBackend):
            return find, (name(value),)
        if isinstance(value, _LOCKS):
            return (threading.RLock if isinstance(value, _LOCKS[0]) else threading.Lock), ()
        if isinstance(value, weakref.WeakValueDictionary):
            return weakref.WeakValueDictionary, (dict(value),)
        if isinstance(value, collections.defaultdict):  # a subclass may be made otherwise
            slots = {"default_factory": _keep_factory(value.default_factory)}
            state = (getattr(value, "__dict__", None), slots)
            make: Any = copyreg.__newobj__  # type: ignore[attr-defined]
            return make, (type(value),), state, None, iter(value.items())
        return NotImplemented


def _keep_factory(factory: Any) -> Any:
    """Return what makes the same as a factory; of a lambda, what it makes is copied instead."""
    module = sys.modules.get(getattr(factory, "__module__", ""))
    if factory is None or hasattr(module, getattr(factory, "__qualname__", "")):
        return factory
    return functools.partial(copy.deepcopy, factory())


def is_s3(backend: BaseBackend) -> bool:
    """Return whether a backend is S3's."""
    return type(backend).__module__ == _S3


def _read(backend: Any) -> dict[str, Any]:
    if is_s3(backend):
        return bucket_settings.read(backend)
    return {name: value for name, value in vars(backend).items() if name not in _LEFT_OUT}


def dump(backend: BaseBackend) -> bytes:
    """Return the state of a backend. Raises: whatever its parts raise if they have no bytes."""
    for left in reversed(range(_TRIES)):
        file = io.BytesIO()
        try:
            _Pickler(file, pickle.HIGHEST_PROTOCOL).dump(_read(backend))
        except RuntimeError:  # a dictionary has changed meanwhile
            if not left:
                raise
        else:
            break
    return file.getvalue()


def load(backend: BaseBackend, state: bytes) -> None:
    """Give a backend the state that `dump` returned; an empty one stands for a new backend."""
    found: Mapping[str, Any]
    if state:
        found = pickle.loads(state)  # noqa: S301 - a file of the user's own
    else:
        found = _read(type(backend)(backend.region_name, backend.account_id))
    if is_s3(backend):
        bucket_settings.write(cast("Any", backend), found)
        return
    left_out = {name: value for name, value in vars(backend).items() if name in _LEFT_OUT}
    vars(backend).clear()
    vars(backend).update({**left_out, **found})
    if docker := sys.modules.get(_DOCKER):  # functions of Lambda leave out their client
        docker.DockerModel._DockerModel__docker_client = None  # noqa: SLF001 - they look for it


def list_names(state: bytes) -> list[str]:
    """Return the ARNs in a state."""
    return sorted({match.decode() for match in _ARN.findall(state)})


def list_keys(backend: BaseBackend) -> list[str]:
    """Return the names of what a backend without bytes keeps."""
    parts = {key: value for key, value in vars(backend).items() if isinstance(value, dict)}
    return [f"{part} {key}" for part, values in parts.items() for key in values]
