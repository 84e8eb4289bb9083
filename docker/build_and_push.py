"""Builds your project, or the toolkit's CPU or GPU image, pushes it to Amazon ECR, prints its URI.

    build_and_push.sh IMAGE [cpu|gpu] [options]

If the current directory has a folder of IMAGE's name with a Dockerfile, or --project names one,
that project is checked by doctor, built on the toolkit's image, tried by `local_test smoke`, and
pushed.

The repository is created if it is missing, with scan on push and immutable tags. A tag is the
version, the kind of image and the git revision. What the registry already has is not built or sent
again. Only the digest URI goes to standard output.

BASE_IMAGE names another base. SSL_CERT_FILE and PIP_CONFIG_FILE, if set, reach the build as
secrets: the machine's certificate authorities and package index, which leave no trace in the image.
"""
# Rules of this file: standard library only; the AWS CLI and the engine's client do the work.

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import ecr
import project
from image_build import Build
from programs import DeliveryError, run, say, succeeds

ROOT: Final = Path(__file__).resolve().parents[1]
_CLIENTS: Final = ("docker", "podman", "buildah")
_FRAMEWORKS: Final = ("tensorflow", "torch", "none")
_IMAGE_NAME: Final = re.compile(
    r"(?=.{2,256}$)(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*"
)
_IN_IMAGE: Final = ("container", "docker", "Dockerfile.cpu", "Dockerfile.gpu")
_PLATFORMS: Final = {
    "x86_64": "linux/amd64",
    "AMD64": "linux/amd64",
    "arm64": "linux/arm64",
    "aarch64": "linux/arm64",
}


def main(arguments: Sequence[str]) -> int:
    """Build and push as the command line says; return the exit code."""
    options = parse(arguments)
    try:
        build = plan_build(options)
        finish = build_only if options.no_push else deliver
        uri = finish(build, options)
    except DeliveryError as failure:
        print(f"build_and_push: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("build_and_push: interrupted", file=sys.stderr)
        return 130
    if uri:
        print(uri)
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line; a wrong one ends the program with what is possible."""
    parser = argparse.ArgumentParser(
        prog="build_and_push.sh",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    option = parser.add_argument
    option("image", metavar="IMAGE", help="name of the ECR repository, such as my-team/digits")
    option("kind", nargs="?", choices=("cpu", "gpu"), default="cpu", help="default: cpu")
    option("--target", choices=("serve", "launch"), help="serve: smaller (cpu); launch: with MPI")
    option(
        "--framework",
        choices=_FRAMEWORKS,
        default=_FRAMEWORKS[0],
        help="what the image holds besides the toolkit (default: tensorflow)",
    )
    option("--region", help="AWS region (default: as the AWS CLI finds it)")
    option("--account", help="account of the repository (default: that of the credentials)")
    option("--profile", help="profile of the AWS CLI")
    option("--tag", help="tag (default: VERSION-KIND-REVISION)")
    option(
        "--platform",
        choices=("linux/amd64", "linux/arm64"),
        default="linux/amd64",
        help="linux/arm64 runs only on Graviton instances (default: linux/amd64)",
    )
    option("--registry", help="push through this host, such as a VPC endpoint or a proxy")
    option("--lifecycle-policy", type=Path, help="JSON file for a new repository")
    option("--client", choices=_CLIENTS, help="engine client (default: the first that answers)")
    option("--project", type=Path, metavar="DIR", help="build this folder with a Dockerfile")
    option("--toolkit", action="store_true", help="build the toolkit's own image, not a project")
    option("--no-smoke", action="store_true", help="do not try a project's image before the push")
    option("--no-push", action="store_true", help="only build; needs no AWS")
    option("--dry-run", action="store_true", help="check everything, change nothing")
    options = parser.parse_intermixed_args(arguments)
    if not _IMAGE_NAME.fullmatch(options.image):
        parser.error(
            f"IMAGE {options.image!r}: use lower-case letters and digits, joined by one of . _ - /"
        )
    if options.account and not re.fullmatch(r"\d{12}", options.account):
        parser.error(f"--account {options.account!r}: expected 12 digits")
    if options.tag and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", options.tag):
        parser.error(f"--tag {options.tag!r}: up to 128 letters, digits and _ . - are allowed")
    if options.kind == "gpu":
        _check_gpu(parser, options)
    if options.lifecycle_policy:
        _check_policy(parser, options.lifecycle_policy)
    return options


def _check_policy(parser: argparse.ArgumentParser, path: Path) -> None:
    if not path.is_file():
        parser.error(f"--lifecycle-policy {path}: no such file")
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        parser.error(f"--lifecycle-policy {path}: not JSON: {error}")


def _check_gpu(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    if options.platform != "linux/amd64" or options.target == "serve":
        parser.error("the GPU image supports only linux/amd64, and no --target serve")
    if options.framework == "none":
        parser.error("the GPU image holds TensorFlow or PyTorch; name one as --framework")


def plan_build(options: argparse.Namespace) -> Build:
    """Find client, version and revision, and compose the build command."""
    client = find_client(options.client)
    text = (ROOT / "container/__init__.py").read_text(encoding="utf-8")
    [version] = re.findall(r'__version__ = "(.+)"', text)
    revision = find_revision()
    found = project.find(options.image, options.project, is_toolkit=options.toolkit)
    framework = options.framework if options.framework != _FRAMEWORKS[0] else ""
    architecture = "arm64" if options.platform == "linux/arm64" else ""
    python, is_known = name_base(client)
    parts = [version, options.kind, architecture, framework, options.target, python, revision]
    base = f"byo-toolkit:{'-'.join(part for part in parts if part)}"
    if found is not None:
        parts.append(found.compute_fingerprint())
    is_clean = revision != "unknown" and not revision.endswith("-dirty")
    return Build(
        client,
        options.tag or "-".join(part for part in parts if part),
        compose_build(client, options, version, revision),
        is_named_by_content=is_clean and is_known and not options.tag,
        project=found,
        base=base,
        is_tried=not options.no_smoke,
    )


def name_base(client: str) -> tuple[str, bool]:
    """Return a part of the tag for BASE_IMAGE, and whether it names the base's content."""
    base = os.environ.get("BASE_IMAGE", "")
    if not base:
        return "", True  # the Dockerfile has its digest
    identity = base.partition("@sha256:")[2]
    if not identity:
        with contextlib.suppress(DeliveryError):
            identity = run([client, "image", "inspect", "--format", "{{.Id}}", base], quiet=True)
    digest = hashlib.sha256((identity.strip() or base).encode()).hexdigest()
    return f"base-{digest[:8]}", bool(identity.strip())


def build_only(build: Build, options: argparse.Namespace) -> str:
    """Build, and return the image's name, or nothing for a dry run."""
    name = f"{options.image}:{build.tag}"
    if options.dry_run:
        _show(build, name)
        return ""
    build.make(name)
    return name


def _show(build: Build, name: str) -> None:
    for command in build.compose(name):
        say(f"would run: {shlex.join(command)}")


def deliver(build: Build, options: argparse.Namespace) -> str:
    """Build and push; return the digest URI, or nothing for a dry run."""
    aws = ecr.compose_aws(options)
    account = ecr.ask_aws(aws, "sts", "get-caller-identity")["Account"]
    say(f"AWS account {account}")
    repository = ecr.find_or_create_repository(aws, options, options.account or account)
    host, _, path = repository.partition("/")
    host = options.registry or host
    name = f"{host}/{path}:{build.tag}"
    password = ecr.log_in(aws)
    if options.dry_run:
        _show(build, name)
        say(f"would push {name}")
        return ""
    manifest = ecr.fetch_manifest(host, path, build.tag, password)
    if manifest is not None and build.is_named_by_content:
        say(f"{name} is in the registry already")
    else:
        build.make(name)
        push(build.client, host, name, password)
        manifest = ecr.fetch_manifest(host, path, build.tag, password)
    if manifest is None:
        raise DeliveryError(f"the registry accepted the push, but does not have {name}")
    media_type, digest = manifest
    if media_type != ecr.DOCKER_MANIFEST:
        raise DeliveryError(
            f"{name} has the media type {media_type}; SageMaker's hosting takes only "
            f"{ecr.DOCKER_MANIFEST}"
        )
    return f"{host}/{path}@{digest}"


def push(client: str, host: str, name: str, password: str) -> None:
    """Log in and push an image."""
    plain = []
    if client != "docker" and ecr.is_loopback(host):  # docker itself chooses HTTP on loopback
        plain = ["--tls-verify=false"]
    run([client, "login", *plain, "--username", "AWS", "--password-stdin", host], text=password)
    say(f"pushing {name}")
    run([client, "push", *plain, name], stream=True)


def find_client(wanted: str | None) -> str:
    """Return the first engine client that is installed and whose engine answers."""
    clients = [wanted] if wanted else _CLIENTS
    failure = DeliveryError(
        f"no container engine: {wanted or 'docker, podman or buildah'} is not on PATH"
    )
    for client in filter(shutil.which, clients):
        try:
            run([client, "info"], quiet=True)
        except DeliveryError as error:
            failure = error
        else:
            return client
    raise failure


def find_revision() -> str:
    """Return the checkout's git revision, marked if files differ from it; `unknown` without git.

    New files that git does not know become part of the image, too.
    """
    git = ["git", "-C", str(ROOT)]
    with contextlib.suppress(DeliveryError):
        revision = run([*git, "rev-parse", "--short=12", "HEAD"], quiet=True).strip()
        changed = run([*git, "status", "--porcelain", "--", *_IN_IMAGE], quiet=True)
        return f"{revision}-dirty" if changed else revision
    return "unknown"


def compose_build(
    client: str, options: argparse.Namespace, version: str, revision: str
) -> list[str]:
    """Compose the build command for Docker's media types, without attestations."""
    if client != "docker":
        command = [client, "build", "--format", "docker", "--layers"]
    elif succeeds(["docker", "buildx", "version"]):
        command = ["docker", "buildx", "build", "--progress=plain", "--load"]
        command += ["--provenance=false", "--sbom=false"]
    else:
        os.environ["DOCKER_BUILDKIT"] = "1"  # clients before 23 contain BuildKit's client
        command = ["docker", "build", "--progress=plain"]
    command += ["--file", str(ROOT / f"Dockerfile.{options.kind}"), "--platform", options.platform]
    command += ["--build-arg", f"VERSION={version}", "--build-arg", f"REVISION={revision}"]
    command += ["--build-arg", f"FRAMEWORK={options.framework}"]
    if options.target:
        command += ["--target", options.target]
    if os.environ.get("BASE_IMAGE"):
        command += ["--build-arg", f"BASE_IMAGE={os.environ['BASE_IMAGE']}"]
    for secret, variable in (("ca", "SSL_CERT_FILE"), ("pip", "PIP_CONFIG_FILE")):
        path = os.environ.get(variable)
        if path and Path(path).is_file():
            command += ["--secret", f"id={secret},src={path}"]
    machine = platform.machine()
    if _PLATFORMS.get(machine, options.platform) != options.platform:
        say(
            f"this machine is {machine}: {options.platform} is emulated, which takes several times "
            "as long"
        )
    return command


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
