"""Local data in the account's bucket, at a place that its content names.

The same content has the same place, so it is uploaded once. Names below a prefix are as on this
disk, since containers see them.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from local_test.data import storage
from local_test.data.storage import StoredObject
from local_test.remote.access import PREFIX, TAG, Account, list_all
from local_test.remote.refusals import explaining, has_code, ignoring

_DIGITS: Final = 32


@dataclass(frozen=True)
class Upload:
    """What a `file://` URI names, and where it belongs in the bucket."""

    uri: str
    """The URI that replaces it: a prefix of exactly these objects."""
    keys: dict[str, StoredObject] = field(default_factory=dict)
    """Each object on this disk, by its key in the bucket."""


def plan(bucket: str, uri: str) -> Upload:
    """Read local objects and name their place; nothing is uploaded.

    Raises: UserError if there are none, or one cannot be read.
    """
    directory, _, stem = uri.rpartition("/")
    objects = storage.list_objects(uri)
    names = {item.uri.removeprefix(f"{directory}/"): item for item in objects}
    digest = hashlib.sha256()
    for name, item in sorted(names.items()):
        digest.update(f"{name}\0{_hash_file(item)}\n".encode())
    place = f"{PREFIX}data/{digest.hexdigest()[:_DIGITS]}"
    keys = {f"{place}/{name}": item for name, item in names.items()}
    return Upload(f"s3://{bucket}/{place}/{stem}", keys)


def _hash_file(item: StoredObject) -> str:
    with storage.to_path(item.uri).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def send(account: Account, upload: Upload) -> list[str]:
    """Upload the objects that the bucket does not have; return their keys.

    Raises: UserError if the bucket refuses one.
    """
    found = list_keys(account, upload.uri.removeprefix(f"s3://{account.bucket}/"))
    missing = [key for key, item in upload.keys.items() if found.get(key) != item.size_bytes]
    owner = {"ExpectedBucketOwner": account.number}
    with explaining():
        for key in missing:
            path = storage.to_path(upload.keys[key].uri)
            account.client("s3").upload_file(str(path), account.bucket, key, owner)
    return missing


def make_bucket(account: Account, say: Callable[[str], None]) -> None:
    """Make the account's default bucket if it is missing.

    Raises: UserError if it cannot be made, or belongs to someone else.
    """
    s3 = account.client("s3")
    with explaining():
        with ignoring(has_code("404")) as missing:
            s3.head_bucket(Bucket=account.bucket, ExpectedBucketOwner=account.number)
        if not missing:
            return
        say(f"making the bucket {account.bucket}")
        where: dict[str, Any] = {}
        if account.region != "us-east-1":
            where = {"CreateBucketConfiguration": {"LocationConstraint": account.region}}
        s3.create_bucket(Bucket=account.bucket, **where)
        tagging = {"TagSet": [{"Key": TAG, "Value": "bucket"}]}
        s3.put_bucket_tagging(Bucket=account.bucket, Tagging=tagging)


def list_keys(account: Account, prefix: str) -> dict[str, int]:
    """Return the size of each object below a prefix of the bucket; none if there is no bucket."""
    where = {"Bucket": account.bucket, "ExpectedBucketOwner": account.number}
    with explaining():
        objects = list_all(account.client("s3"), "list_objects_v2", Prefix=prefix, **where)
    return {entry["Key"]: int(entry["Size"]) for entry in objects}
