"""build_and_push.sh against a real registry with a password, and a simulated ECR and STS."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import pytest

from container.developer import init
from tests.image.engine import build, docker
from tests.support import ROOT, free_port, wait_until

pytestmark = [pytest.mark.image, pytest.mark.timeout(600)]

# What the simulated ECR returns as the password of account 123456789012, and its bcrypt hash.
PASSWORD = "123456789012-auth-token"  # noqa: S105 - of the test's own registry
HTPASSWD = "AWS:$2b$05$si58BnfrOA.m4vyu9Zc//uLWSI.Y.qzvQtYH2NOzvxF/0bZD5S8Cu\n"


class Cloud(NamedTuple):
    """A checkout to deliver from, a registry's host and log, and the AWS API with its client."""

    checkout: Path
    registry: str
    log: Path
    api: str
    programs: Path


def answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except urllib.error.HTTPError as error:
        error.close()
        return True
    except OSError:
        return False
    return True


@contextmanager
def registry(directory: Path, htpasswd: str) -> Iterator[str]:
    """Run a registry for the users of `htpasswd`; yield its host. Its log is `directory/log`."""
    host = f"127.0.0.1:{free_port()}"
    (directory / "htpasswd").write_text(htpasswd)
    configuration = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(directory / "storage")}},
        "http": {"addr": host, "secret": "test"},
        "auth": {"htpasswd": {"realm": "test", "path": str(directory / "htpasswd")}},
    }
    (directory / "config.yml").write_text(json.dumps(configuration))  # JSON is YAML
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", directory / "config.yml"], stdout=log, stderr=log
        )
        try:
            wait_until(lambda: answers(f"http://{host}/v2/"))
            yield host
        finally:
            subprocess.run(["docker", "logout", host], capture_output=True, check=False)
            forget_images(host)
            process.terminate()
            process.wait(30)


def forget_images(host: str) -> None:
    """Remove the names that deliveries to a registry left in the engine, tags and digests."""
    names = docker(
        "images",
        "--digests",
        "--format",
        "{{.Repository}} {{.Tag}} {{.Digest}}",
        f"{host}/team/digits",
    )
    for repository, tag, digest in (line.split() for line in names.splitlines()):
        name = f"{repository}:{tag}" if tag != "<none>" else f"{repository}@{digest}"
        subprocess.run(["docker", "rmi", name], capture_output=True, check=False)


@pytest.fixture(scope="module")
def cloud(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Start both servers on loopback; stop them at the end."""
    directory, port = tmp_path_factory.mktemp("cloud"), free_port()
    (directory / "bin").mkdir()
    # The script that pip installs has a first line that breaks if its path contains a space.
    client = directory / "bin/aws"
    client.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m awscli "$@"\n', encoding="utf-8")
    client.chmod(0o755)
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with registry(directory, HTPASSWD) as host:
            wait_until(lambda: answers(f"http://127.0.0.1:{port}/"))
            yield Cloud(
                checkout, host, directory / "log", f"http://127.0.0.1:{port}", directory / "bin"
            )
    finally:
        process.terminate()
        process.wait(30)


def deliver(
    cloud: Cloud,
    *options: str,
    what: Sequence[str] = ("--target", "serve"),
    cwd: Path | None = None,
    **environ: str,
) -> subprocess.CompletedProcess[str]:
    """Run build_and_push.sh, by default for the image that only serves."""
    settings = {
        "AWS_ENDPOINT_URL": cloud.api,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_MAX_ATTEMPTS": "1",
        "PATH": f"{cloud.programs}:{os.environ['PATH']}",
    }
    command = [
        cloud.checkout / "build_and_push.sh",
        "team/digits",
        "--region",
        "eu-west-1",
        "--registry",
        cloud.registry,
    ]
    return subprocess.run(
        [*command, *what, *options],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **settings, **environ},
    )


def repositories(cloud: Cloud) -> list[dict[str, Any]]:
    """Return the state of the simulated ECR."""
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    client = boto3.client("ecr", "eu-west-1", endpoint_url=cloud.api, **keys)  # type: ignore[call-overload]
    found: list[dict[str, Any]] = client.describe_repositories()["repositories"]
    client.close()
    return found


def count_uploads(cloud: Cloud) -> int:
    """Count the requests of the registry's log that send a layer's bytes."""
    return len(re.findall(r'"(?:PATCH|PUT) /v2/team/digits/blobs/uploads/', cloud.log.read_text()))


@pytest.fixture(scope="module")
def delivered(cloud: Cloud, serve_image: str) -> str:  # noqa: ARG001 - its layers make this build short
    """Return the digest URI of a first delivery."""
    done = deliver(cloud)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def test_a_delivery_prints_the_digest_uri_alone(cloud: Cloud, delivered: str) -> None:
    assert re.fullmatch(
        rf"{re.escape(cloud.registry)}/team/digits@sha256:[0-9a-f]{{64}}\n", delivered
    )


def test_a_delivery_creates_a_repository_that_scans_and_whose_tags_never_move(
    cloud: Cloud, delivered: str
) -> None:
    assert delivered
    (repository,) = repositories(cloud)
    assert repository["repositoryName"] == "team/digits"
    assert repository["imageTagMutability"] == "IMMUTABLE"
    assert repository["imageScanningConfiguration"] == {"scanOnPush": True}


def test_the_registry_refuses_whoever_does_not_log_in(cloud: Cloud, delivered: str) -> None:
    digest = delivered.strip().rpartition("@")[2]
    with pytest.raises(urllib.error.HTTPError, match="401") as refused:
        urllib.request.urlopen(
            f"http://{cloud.registry}/v2/team/digits/manifests/{digest}", timeout=10
        )
    refused.value.close()


def test_a_second_delivery_sends_nothing_again(cloud: Cloud, delivered: str) -> None:
    before = count_uploads(cloud)
    assert before > 0
    again = deliver(cloud)
    assert (again.returncode, again.stdout) == (0, delivered), again.stderr[-4000:]
    assert "is in the registry already" in again.stderr
    other_tag = deliver(cloud, "--tag", "second")
    assert (other_tag.returncode, other_tag.stdout) == (0, delivered), other_tag.stderr[-4000:]
    assert count_uploads(cloud) == before


def test_a_delivered_image_can_be_pulled_by_its_digest_and_runs(delivered: str) -> None:
    uri = delivered.strip()
    docker("rmi", "--force", docker("image", "inspect", "--format", "{{.Id}}", uri).strip())
    assert "usage: python -m container" in docker("run", "--rm", "--pull", "always", uri, "--help")
    manifest = json.loads(docker("manifest", "inspect", "--insecure", uri))
    assert manifest["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"  # IMG-9


@pytest.mark.slow
def test_a_project_is_built_on_the_toolkit_tried_and_pushed(cloud: Cloud, tmp_path: Path) -> None:
    init.write(tmp_path / "digits", "script")
    ours = cloud._replace(checkout=ROOT)  # with the harness
    done = deliver(ours, what=("--framework", "none"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "no errors found" in done.stderr
    assert "invoke: the container answered 200" in done.stderr
    [uri] = done.stdout.splitlines()
    assert uri.startswith(f"{cloud.registry}/team/digits@sha256:")
    assert docker("run", "--rm", uri, "ls", "/opt/code").split() == ["inference.py", "train.py"]


def test_a_dry_run_changes_nothing(cloud: Cloud, delivered: str) -> None:
    before = cloud.log.read_text().count('"PUT ')
    done = deliver(cloud, "--tag", "third", "--dry-run")
    assert (done.returncode, done.stdout) == (0, "")
    assert f"would push {delivered.partition('@')[0]}:third" in done.stderr
    assert cloud.log.read_text().count('"PUT ') == before


def test_a_registry_that_refuses_the_password_is_explained(
    cloud: Cloud, delivered: str, tmp_path: Path
) -> None:
    assert delivered
    with registry(tmp_path, HTPASSWD.replace("AWS:", "SOMEONE:")) as strict:
        done = deliver(cloud._replace(registry=strict))
    assert (done.returncode, done.stdout) == (1, "")
    assert "the registry does not accept the login" in done.stderr


# Here, after the deliveries, because a build without cache replaces the layers of the cache, and a
# delivery in another process of the tests would then push those.


@pytest.fixture
def clone(checkout: Path, tmp_path: Path) -> Path:
    """Return the same commit as another user has it: later, and with a strict umask."""
    subprocess.run(
        ["git", "clone", "--quiet", checkout, tmp_path / "clone"], check=True, umask=0o077
    )
    return tmp_path / "clone"


def list_files(image: str, directory: Path) -> list[dict[str, tuple[Any, ...]]]:
    """Return for each layer what it says about every file, with a digest of the file's bytes.

    The engine chooses the order of the files, and several builds at the same time may change it.
    """
    archive = directory / "image.tar"
    docker("save", "--output", str(archive), image)
    layers = []
    with tarfile.open(archive) as saved:
        [manifest] = json.load(saved.extractfile("manifest.json") or io.BytesIO())
        for name in manifest["Layers"]:
            with tarfile.open(fileobj=saved.extractfile(name)) as layer:
                layers.append({member.name: describe(layer, member) for member in layer})
    archive.unlink()
    return layers


def describe(layer: tarfile.TarFile, member: tarfile.TarInfo) -> tuple[Any, ...]:
    content = layer.extractfile(member) if member.isreg() else None
    digest = hashlib.sha256(content.read()).hexdigest() if content else None
    owner = (member.uid, member.gid, member.mode)
    return (member.type, member.linkname, *owner, member.mtime, member.pax_headers, digest)


def check_another_build(clone: Path, image: str, directory: Path, *options: str) -> None:
    name = build(clone, "Dockerfile.cpu", "byo-test-again", "--no-cache", *options)
    try:
        again, files = list_files(name, directory), list_files(image, directory)
    finally:
        docker("rmi", name)
    assert sum(map(len, files)) > 1000
    assert again == files


@pytest.mark.slow
def test_two_builds_of_one_commit_give_the_same_files(
    clone: Path, serve_image: str, tmp_path: Path
) -> None:
    check_another_build(clone, serve_image, tmp_path, "--target", "serve")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_builds_of_the_whole_image_give_the_same_files(
    clone: Path, image: str, tmp_path: Path
) -> None:
    check_another_build(clone, image, tmp_path)
