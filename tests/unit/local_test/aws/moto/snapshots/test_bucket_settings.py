"""Settings of buckets and tags, apart from the objects."""

from __future__ import annotations

import pytest
from moto.s3.models import S3Backend, s3_backends

from local_test.aws.moto.snapshots import backends, bucket_settings

ACCOUNT = "000000000005"


@pytest.fixture
def backend() -> S3Backend:
    found = s3_backends[ACCOUNT]["aws"]
    found.reset()
    found.create_bucket("settings-kept", "us-east-1")
    return found


def test_settings_return_to_buckets_that_exist(backend: S3Backend) -> None:
    plain = backends.dump(backend)
    backend.put_bucket_policy("settings-kept", b"{}")
    backend.put_bucket_versioning("settings-kept", "Enabled")
    key = backend.put_object("settings-kept", "key", b"body")
    backend.tagger.tag_resource(key.arn, [{"Key": "a", "Value": "b"}])
    backend.create_bucket("settings-gone", "us-east-1")
    kept = backends.dump(backend)
    backend.delete_bucket("settings-gone")

    for state in (plain, b""):
        backends.load(backend, state)
        assert backend.buckets["settings-kept"].policy is None
        assert bucket_settings.list_versioned(backend) == []
    backends.load(backend, kept)
    assert list(backend.buckets) == ["settings-kept"]
    assert backend.buckets["settings-kept"].policy == b"{}"
    assert bucket_settings.list_versioned(backend) == ["settings-kept"]
    assert backend.get_object("settings-kept", "key") is key
    assert backend.tagger.get_tag_dict_for_resource(key.arn) == {"a": "b"}
