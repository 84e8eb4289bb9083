"""What a build takes from outside: carried wheels, a package index, its certificate authority."""

from __future__ import annotations

import base64
import http.server
import json
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from local_test.runners.containers.addresses import find_gateway
from tests.image.engine import build, docker

pytestmark = [pytest.mark.image, pytest.mark.slow, pytest.mark.timeout(1200)]
ARM64 = [f"manylinux_2_{minor}_aarch64" for minor in (28, 27, 26, 17)] + ["manylinux2014_aarch64"]


@pytest.fixture(scope="module")
def wheels(serve_image: str, checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory filled as docs/images.md describes, by the image's own Python."""
    directory = tmp_path_factory.mktemp("wheels")
    download = ["pip", "download", "--quiet", "--require-hashes", "--no-deps", "--dest", "/wheels"]
    scripts = ("--no-build-isolation", "--requirement", "/locks/requirements-scripts.txt")
    for options in (
        ("--only-binary", ":all:", "--requirement", "/locks/requirements-pip.txt"),
        ("--only-binary", ":all:", "--requirement", "/locks/requirements-serve.txt"),
        scripts,
    ):
        mounts = ("--volume", f"{directory}:/wheels", "--volume", f"{checkout}/docker:/locks:ro")
        docker("run", "--rm", *mounts, serve_image, *download, *options)
    return directory


PYTHON_VERSION = "import platform; print(platform.python_version())"


@pytest.mark.parametrize("name", ["requirements-cpu.txt", "requirements-serve.txt"])
def test_the_locks_name_wheels_for_arm64(
    name: str, serve_image: str, checkout: Path, tmp_path: Path
) -> None:
    version = docker("run", "--rm", serve_image, "python", "-c", PYTHON_VERSION).strip()
    arm = {"platform_machine": "aarch64", "sys_platform": "linux", "python_full_version": version}
    # pip takes wheels of another platform, but asks its own for the markers: so these are answered
    # here.
    lock = (checkout / "docker" / name).read_text().replace(" \\\n", " ")
    packages = [line.partition(" --hash") for line in lock.splitlines() if " --hash" in line]
    wanted = [Requirement(package) for package, _, _ in packages]
    lines = [
        f"{package.partition(';')[0]}{separator}{hashes}\n"
        for (package, separator, hashes), it in zip(packages, wanted, strict=True)
        if it.marker is None or it.marker.evaluate(arm)
    ]
    (tmp_path / "lock.txt").write_text("".join(lines))
    download = [
        "pip",
        "download",
        "--quiet",
        "--require-hashes",
        "--no-deps",
        "--only-binary",
        ":all:",
    ]
    platforms = [part for tag in ARM64 for part in ("--platform", tag)]
    places = ("--dest", "/wheels", "--requirement", "/wheels/lock.txt")
    docker(
        "run",
        "--rm",
        "--volume",
        f"{tmp_path}:/wheels",
        serve_image,
        *download,
        *platforms,
        *places,
    )
    assert len(list(tmp_path.glob("*.whl"))) == len(lines) > 10


def layers(image: str) -> list[str]:
    found: list[str] = json.loads(docker("inspect", image))[0]["RootFS"]["Layers"]
    return found


@contextmanager
def removed(image: str) -> Iterator[str]:
    """Yield the image's name, and remove it at the end."""
    try:
        yield image
    finally:
        docker("rmi", image)


def test_a_build_with_a_wheelhouse_asks_no_index(
    wheels: Path, checkout: Path, serve_image: str, tmp_path: Path
) -> None:
    context = shutil.copytree(checkout, tmp_path / "context")
    shutil.copytree(wheels, context / "docker/wheelhouse", dirs_exist_ok=True)
    (tmp_path / "pip.conf").write_text(
        "[global]\nindex-url = http://127.0.0.1:9/nobody-answers\nretries = 0\n"
    )
    secret = f"id=pip,src={tmp_path}/pip.conf"
    with removed(
        build(
            context,
            "Dockerfile.cpu",
            "byo-test-wheelhouse",
            "--target",
            "serve",
            "--secret",
            secret,
        )
    ) as it:
        assert layers(it) == layers(serve_image)


class Index(http.server.SimpleHTTPRequestHandler):
    """A package index that wants a password: one page per project, and the files themselves."""

    served: list[str]

    def do_GET(self) -> None:
        """Answer whoever has the password."""
        given = self.headers.get("Authorization", "").removeprefix("Basic ")
        if base64.b64decode(given) != b"reader:not-to-be-kept":
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic")
            self.end_headers()
        elif self.path.startswith("/simple/"):
            project = self.path.split("/")[2].replace("-", "_")
            names = [path.name for path in Path(self.directory).iterdir()]
            found = [
                name
                for name in names
                if name.lower().replace("-", "_").replace(".", "_").startswith(f"{project}_")
            ]
            body = "".join(f'<a href="/{name}">{name}</a>' for name in found).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        else:
            self.served.append(self.path)
            super().do_GET()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def test_a_build_takes_index_password_and_authority_from_secrets(
    wheels: Path, checkout: Path, serve_image: str, tmp_path: Path
) -> None:
    gateway = find_gateway()
    assert gateway is not None
    key, authority = tmp_path / "key.pem", tmp_path / "authority.pem"
    make = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=index",
    ]
    names = ["-addext", "subjectAltName=DNS:index.test", "-keyout", key, "-out", authority]
    subprocess.run([*make, *names], check=True, capture_output=True)
    context = shutil.copytree(checkout, tmp_path / "context")
    with (context / "docker/requirements-serve.txt").open("a") as file:
        file.write("# read again, not taken from the build's cache\n")
    Index.served = []
    with http.server.ThreadingHTTPServer(
        (gateway, 0), partial(Index, directory=str(wheels))
    ) as server:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(authority, key)
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"https://reader:not-to-be-kept@index.test:{server.server_port}/simple"
        (tmp_path / "pip.conf").write_text(f"[global]\nindex-url = {url}\nno-cache-dir = true\n")
        secrets = (
            "--secret",
            f"id=pip,src={tmp_path}/pip.conf",
            "--secret",
            f"id=ca,src={authority}",
        )
        host = ("--add-host", f"index.test:{gateway}")
        name = build(
            context, "Dockerfile.cpu", "byo-test-index", "--target", "serve", *secrets, *host
        )
        server.shutdown()
    with removed(name):
        assert len(Index.served) > 20
        assert layers(name) == layers(serve_image)  # so nothing of the secrets is in a layer
        assert "not-to-be-kept" not in docker("history", "--no-trunc", name) + docker(
            "inspect", name
        )
