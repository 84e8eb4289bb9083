"""moto's state on disk: after each change, before its answer leaves, and back at the next start.

What cannot be kept, such as the data of metrics, is named by a warning of the next start. S3's
objects have records of their own; restore after they exist.
"""

import base64
import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

import moto
from moto.core.base_backend import AccountSpecificBackend, BaseBackend

from local_test.aws.account.kinds import BACKEND
from local_test.aws.account.records import Backend
from local_test.aws.account.store import Store
from local_test.aws.moto.snapshots import backends, bucket_settings
from local_test.data.disk import DiskError

_METRICS: Final = "metrics of "
_OWN: Final = ("AWS/", "/aws/sagemaker")
"""How the names of namespaces begin in which the local AWS itself publishes."""
_MOST_BYTES: Final = 32 * 1024**2  # of a backend, as each change writes all of it
_NAMES_SHOWN: Final = 20
_seen = threading.local()
"""`backends` of a thread: those that its calls asked for, by name, or None if nobody wants them."""


class Snapshots:
    """The states of one account's backends."""

    def __init__(self, store: Store, account: str) -> None:
        """Return to moto what the last process kept."""
        self._store = store
        self._lock = threading.Lock()
        self._undone = 0
        """How often changes were taken back, as the disk was full."""
        _watch()
        for record in store.list(BACKEND):
            if record["name"].split(":")[2] == account:
                self._restore(record)

    @contextlib.contextmanager
    def keeping(self) -> Iterator[None]:
        """Write what the calls inside have changed before it ends.

        Raises: DiskError if it cannot be written, and was undone.
        """
        if getattr(_seen, "backends", None) is not None:  # the caller keeps them
            yield
            return
        undone = self._undone
        _seen.backends = {}
        try:
            yield
            with self._lock:
                if undone != self._undone:  # this change may be among those taken back
                    raise DiskError("the disk was full, and a change was undone; send it again")
                for name, backend in _seen.backends.items():
                    self._write(name, backend)
        finally:
            _seen.backends = None

    def keep(self, backend: BaseBackend) -> None:
        """Write a backend that has changed, or leave it to the next change if the disk is full."""
        with self._lock, contextlib.suppress(DiskError):
            self._write(backends.name(backend), backend)

    def _write(self, name: str, backend: BaseBackend) -> None:
        record = _describe(name, backend)
        old = self._store.find(BACKEND, name)
        if old is not None and old.items() >= record.items():
            return
        if record["fault"] and not record["names"]:  # nothing is there to be lost
            return
        try:
            if not self._store.insert(BACKEND, name, record):
                self._store.edit(BACKEND, name, lambda kept: kept.update(record))
        except DiskError:
            if record["fault"]:  # what is not kept is only not reported
                return
            self._undone += 1
            if old is None:
                backends.load(backend, b"")
            elif not old["fault"] and old["moto"] == moto.__version__:
                backends.load(backend, base64.b64decode(old["state"]))
            raise

    def _restore(self, record: Backend) -> None:
        fault = record["fault"]
        if not fault and record["moto"] != moto.__version__:
            fault = f"moto {record['moto']} wrote it, and {moto.__version__} is installed"
        if not fault:
            try:
                found = backends.find(record["name"])
                backends.load(found, base64.b64decode(record["state"]))
                self._store.warnings += _list_losses(found, record)
            except Exception as error:  # noqa: BLE001 - damage costs one service, not the start
                fault = f"it cannot be read ({error!r})"
        if fault:
            self._store.warnings.append(_explain(record, fault))
            if not record["state"]:
                self._store.forget(BACKEND, record["name"])


def _list_losses(backend: Any, record: Backend) -> list[str]:
    """Return a sentence for each part of a backend that its state leaves out."""
    metrics = [name for name in record["names"] if name.startswith(_METRICS)]
    losses = [f"the local AWS keeps no data of CloudWatch; lost are {name}" for name in metrics]
    if backends.is_s3(backend) and (names := bucket_settings.list_versioned(backend)):
        losses.append(f"of versioned objects, only the latest came back: {', '.join(names)}")
    return losses


def _describe(name: str, backend: BaseBackend) -> Backend:
    """Return the record of a backend."""
    state, fault, names = _dump(backend)
    return {
        "name": name,
        "moto": moto.__version__,
        "state": base64.b64encode(state).decode(),
        "fault": fault,
        "names": names,
    }


def _dump(backend: BaseBackend) -> tuple[bytes, str, list[str]]:
    """Return the state of a backend, why it cannot be kept, and the names of what is in it."""
    try:
        state = backends.dump(backend)
    except Exception as error:  # noqa: BLE001 - objects of moto may be of any kind
        fault = f"moto's objects have no form on disk ({error})"
        return b"", fault, backends.list_keys(backend)
    names = [*_list_metrics(backend), *backends.list_names(state)]
    if len(state) > _MOST_BYTES:
        return b"", f"they have {len(state)} bytes; at most {_MOST_BYTES} are kept", names
    return state, "", names


def _list_metrics(backend: Any) -> list[str]:
    """Return the namespaces of metrics that programs have published."""
    spaces = {datum.namespace for datum in getattr(backend, "metric_data", ())}
    return sorted(_METRICS + space for space in spaces if not space.startswith(_OWN))


def _explain(record: Backend, fault: str) -> str:
    service = record["name"].split(".")[1]
    names = record["names"]
    shown = ", ".join(names[:_NAMES_SHOWN]) or "all of it"
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return f"what {service} had before the restart is lost, since {fault}: {shown}{more}"


@functools.cache
def _watch() -> None:
    """Note from now on which backends a thread asks moto for."""
    find: Callable[..., Any] = AccountSpecificBackend.__getitem__

    def find_and_note(services: Any, region: str) -> Any:
        backend = find(services, region)
        seen = getattr(_seen, "backends", None)
        if seen is not None:
            seen[backends.name(backend)] = backend
        return backend

    AccountSpecificBackend.__getitem__ = find_and_note
