"""What S3 keeps besides buckets and objects, which have records: settings of buckets, and tags."""

from collections.abc import Mapping
from typing import Any, Final

from moto.s3.models import FakeBucket, S3Backend

_RECORDED: Final = ("keys", "multiparts")


def read(backend: S3Backend) -> dict[str, Any]:
    """Return the settings of all buckets, such as policies and versioning, and all tags."""
    buckets = {name: _read_bucket(bucket) for name, bucket in list(backend.buckets.items())}
    return {"buckets": buckets, "tagger": backend.tagger}


def _read_bucket(bucket: FakeBucket) -> dict[str, Any]:
    return {name: value for name, value in vars(bucket).items() if name not in _RECORDED}


def write(backend: S3Backend, settings: Mapping[str, Any]) -> None:
    """Give the buckets that exist what `read` returned; those without settings become plain."""
    for name, bucket in backend.buckets.items():
        plain = _read_bucket(FakeBucket(name, backend.account_id, bucket.region_name))
        del plain["creation_date"]
        vars(bucket).update({**plain, **settings["buckets"].get(name, {})})
    backend.tagger = settings["tagger"]


def list_versioned(backend: S3Backend) -> list[str]:
    """Return the buckets whose objects may have older versions, which have no records."""
    return [name for name, bucket in backend.buckets.items() if bucket.versioning_status]
